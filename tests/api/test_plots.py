"""Plots of collections at the door: kept with their version, and drawn again by a job."""

import json
from typing import Any

import pytest

from jobs.errors import NotFound
from jobs.objects import Objects
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from tests.api import collecting
from tests.api.collecting import DIGITS, IMAGES, NO_COLLECTION, OTHER_FILE, accepted, end, error, post, ready
from tests.stack import Stack
from worker.upkeep import remove_unused

stack = collecting.stack  # a fixture


def upkeep(stack: Stack) -> tuple[JobStore, Objects]:
    """Stores that remove at once what nothing names."""
    settings = stack.settings.model_copy(update={"hold_s": 0})
    jobs = JobStore(stack.jobs.client, settings)
    return jobs, Objects(settings, jobs, retry_s=1)


def drawn(stack: Stack, *names: str) -> list[dict[str, Any]]:
    """Plots as a worker stores them."""
    _, objects = upkeep(stack)
    shas = [objects.put(name.encode(), "image/png") for name in names]
    facts = {"role": "plot", "content_type": "image/png", "width": 4, "height": 3}
    return [
        {"name": name, "sha256": sha, "size_bytes": len(name), **facts} for name, sha in zip(names, shas, strict=True)
    ]


def test_plots_are_those_of_a_version_and_outlive_its_job(stack: Stack) -> None:
    job = accepted(post(stack, **DIGITS))
    collection_id = job["id"].replace("job_", "col_")
    path = f"/v1/collections/{collection_id}/plots"
    assert error(stack.client.get(path))[:2] == (409, "collection_not_ready")
    end(stack, plots=drawn(stack, "t-sne", "pca"))
    accepted(post(stack, f"/{collection_id}/images", images=IMAGES))
    end(stack, file=OTHER_FILE, plots=drawn(stack, "t-sne-of-more"))
    assert stack.client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    remove_unused(*upkeep(stack))

    listed = stack.client.get(path, params={"version": 1}).json()
    assert (listed["collection"], listed["version"]) == (collection_id, 1)
    first, second = listed["plots"]
    assert (first["name"], second["name"], first["role"], first["size_bytes"]) == ("t-sne", "pca", "plot", 5)
    answer = stack.client.get(first["url"])
    assert (answer.content, answer.headers["content-type"]) == (b"t-sne", "image/png")
    assert answer.headers["etag"] == f'"{first["sha256"]}"'
    assert stack.client.get(first["url"], headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert [plot["name"] for plot in stack.client.get(path).json()["plots"]] == ["t-sne-of-more"], "of the newest"
    newest = stack.client.get(f"{path}/t-sne-of-more")
    assert (newest.content, newest.headers["cache-control"]) == (b"t-sne-of-more", "private, no-cache")
    assert "immutable" in answer.headers["cache-control"], "of a version, which never changes"
    code, _, message = error(stack.client.get(f"{path}/t-sne"))
    assert code == 404 and message == "Version 2 has no plot 't-sne'; its plots are t-sne-of-more."
    assert error(stack.client.get(path, params={"version": 3}))[:2] == (422, "no_such_version")
    assert error(stack.client.get(f"/v1/collections/{NO_COLLECTION}/plots"))[:2] == (404, "collection_not_found")

    assert stack.client.delete(f"/v1/collections/{collection_id}").status_code == 204
    remove_unused(*upkeep(stack))
    with pytest.raises(NotFound):
        upkeep(stack)[1].get(first["sha256"])


def test_version_from_before_plots_were_kept_has_none(stack: Stack) -> None:
    collection_id = ready(stack)
    key = f"{PREFIX}collection:{collection_id}"
    old = json.loads(stack.redis.hget(key, "version:1") or "")  # type: ignore[arg-type]
    stack.redis.hset(key, "version:1", json.dumps({name: old[name] for name in old if name != "plots"}))
    assert stack.client.get(f"/v1/collections/{collection_id}/plots").json()["plots"] == []


def test_plots_are_drawn_again_by_a_job_that_uses_the_collection(stack: Stack) -> None:
    collection_id = ready(stack)
    path = f"/{collection_id}/plots"
    job = accepted(post(stack, path, clustering="kmeans", seed=4))
    assert (job["kind"], stack.jobs.get(job["id"]).queue) == ("collection-plots", "gpu")
    wanted = {"collection": collection_id, "version": 1, "clustering": "kmeans", "component": None, "seed": 4}
    assert {name: job["params"][name] for name in wanted} == wanted
    assert error(stack.client.delete(f"/v1/collections/{collection_id}"))[:2] == (409, "collection_in_use")
    stack.jobs.cancel(job["id"])
    for part, code, field in (
        ({"clustering": "mixture"}, "unknown_clustering", "clustering"),
        ({"component": 5}, "no_such_component", "component"),
        ({"attribute": "hat"}, "unknown_attribute", "attribute"),
        ({"component": 0, "version": 2}, "no_such_version", "version"),
        ({}, "invalid_request", "clustering"),
        ({"component": 0, "clustering": "kmeans"}, "invalid_request", "component"),
    ):
        answer = post(stack, path, **part)
        assert error(answer)[:2] == (422, code), answer.text
        assert answer.json()["error"]["details"]["field"] == field
    assert error(post(stack, f"/{NO_COLLECTION}/plots", component=0))[:2] == (404, "collection_not_found")
