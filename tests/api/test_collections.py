"""Collections at the door: what is resolved, stored and shown. Their jobs are ended by hand, without a worker."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from api.collections import ADDITIONS, EXAMPLES
from api.generations import SMILEY, WINK
from api.style_transfers import CAT, COFFEE
from jobs.errors import Conflict, NotFound
from jobs.objects import Objects
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import NewJob
from tests.api.conftest import field_and_rule, stored
from tests.api.test_generations import card
from tests.stack import Stack
from worker.upkeep import remove_unused

DIGITS: dict[str, Any] = {"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1, "data": "digits"}
IMAGES = [SMILEY, WINK, CAT, COFFEE]
FILE, OTHER_FILE = "a" * 64, "b" * 64
NO_COLLECTION = "col_" + "0" * 24
TRAINED = "vae-0123456789ab"
FIGURES: dict[str, Any] = {
    **{"n_images": 200, "n_components": 5, "attribute_names": []},
    **{"clusterings": {"kmeans": {"n_clusters": 3}}, "failed_clusterings": {}},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Valkey and the API, with the facts that a worker reported before it stopped."""
    made = Stack(tmp_path_factory.mktemp("collections"))
    made.start_valkey()
    made.start_api("api.main:app")
    cards = [card(name) for name in ("vae-2", "vae-faces", "gan-8", "dcgan-faces", "ddpm-small", "vgg16")]
    made.jobs.heartbeats.beat("away@test", {"queues": ["fast", "gpu", "collect"], "cards": cards, "installed": []})
    yield made
    made.stop()


def post(stack: Stack, path: str = "", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return stack.client.post(f"/v1/collections{path}", json=body, headers=headers)


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def error(answer: httpx.Response) -> tuple[int, str, str]:
    found = answer.json()["error"]
    return answer.status_code, found["code"], found["message"]


def end(stack: Stack, status: str = "succeeded", file: str = FILE, plots: Sequence[dict[str, Any]] = ()) -> str:
    """End the job that waits; returns its id."""
    [record] = stack.jobs.claim("collect", worker="test")
    collection = {"file": file, "figures": FIGURES, "plots": list(plots)}
    given: dict[str, Any] = (
        {"collection": collection} if status == "succeeded" else {"error": {"code": "bad_data", "message": "x"}}
    )
    stack.jobs.finish(record.id, record.fence, status, metrics={"figures": FIGURES}, **given)
    return record.id


def ready(stack: Stack, **changed: Any) -> str:
    """A collection with one version; returns its id."""
    accepted(post(stack, **DIGITS | changed))
    return end(stack).replace("job_", "col_")


def shown(stack: Stack, collection_id: str) -> dict[str, Any]:
    answer = stack.client.get(f"/v1/collections/{collection_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_collection_from_its_job_to_its_end(stack: Stack) -> None:
    job = accepted(post(stack, **DIGITS))
    collection_id = job["id"].replace("job_", "col_")
    new = shown(stack, collection_id)
    assert new == {
        **{"id": collection_id, "name": "Digits", "space": "pixels", "status": "building", "version": None},
        **{"building": job["id"], "created_at": job["created_at"], "versions": []},
    }
    end(stack)
    built, ended = shown(stack, collection_id), stack.job(job["id"])
    [version] = built.pop("versions")
    assert (built["status"], built["version"], built["building"]) == ("ready", 1, None)
    assert version == {
        **{"version": 1, "created_at": ended["finished_at"], "built_by": job["id"], "n_images": 200},
        "figures": FIGURES,
    }
    assert ended["metrics"] == {"warnings": [], "figures": FIGURES, "collection": collection_id, "version": 1}
    listed = stack.client.get("/v1/collections").json()["collections"]
    assert listed[0] == built
    assert stack.client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert shown(stack, collection_id)["version"] == 1, "it outlives the record of its job"
    assert stack.client.delete(f"/v1/collections/{collection_id}").status_code == 204
    assert error(stack.client.get(f"/v1/collections/{collection_id}"))[:2] == (404, "collection_not_found")


def test_what_is_resolved(stack: Stack) -> None:
    job = accepted(post(stack, name="Few", space="pixels", images=IMAGES, n_components=2))
    params = job["params"]
    assert all(image.startswith("img_") for image in params["images"]) and len(set(params["images"])) == 4
    assert (params["image_size"], params["channels"], params["standardize"]) == (64, 3, False)
    assert (params["n_components"], params["explained_variance"], params["limit"]) == (2, None, None)
    assert isinstance(params["seed"], int)
    assert stack.jobs.get(job["id"]).queue == "collect"
    end(stack)
    job = accepted(post(stack, name="Faces", space="vae-faces", data="smileys"))
    params = job["params"]
    assert (params["image_size"], params["standardize"], params["limit"]) == (None, True, 1000)
    end(stack)


def test_the_same_image_may_be_named_twice_and_few_may_join(stack: Stack) -> None:
    twice = accepted(post(stack, name="Twice", space="pixels", images=[*IMAGES, CAT]))
    images = twice["params"]["images"]
    assert len(images) == 5 and images[4] == images[2]
    collection_id = end(stack).replace("job_", "col_")
    for n in (1, 2, 3):
        job = accepted(post(stack, f"/{collection_id}/images", images=IMAGES[:n]))
        assert len(job["params"]["images"]) == n
        end(stack)


def test_what_was_resolved_can_be_sent_again(stack: Stack) -> None:
    first = accepted(post(stack, **DIGITS))["params"]
    end(stack)
    again = accepted(post(stack, **first))["params"]
    end(stack)
    assert again == first


def test_images_join_as_the_next_version(stack: Stack) -> None:
    collection_id = ready(stack, n_components=5)
    job = accepted(post(stack, f"/{collection_id}/images", images=IMAGES, seed=4))
    params = job["params"]
    assert params["collection"] == collection_id
    kept = ("name", "space", "image_size", "channels", "n_components", "standardize")
    assert [params[name] for name in kept] == ["Digits", "pixels", 16, 1, 5, False]
    assert (params["data"], params["limit"], params["seed"], len(params["images"])) == (None, None, 4, 4)
    building = shown(stack, collection_id)
    assert (building["status"], building["version"], building["building"]) == ("ready", 1, job["id"])
    end(stack, file=OTHER_FILE)
    assert [version["version"] for version in shown(stack, collection_id)["versions"]] == [1, 2]
    assert stack.job(job["id"])["metrics"]["version"] == 2

    clusterings = [{"method": "agglomerative", "n_clusters": 3, "max_clusters": None}]
    params = accepted(post(stack, f"/{collection_id}/images", data="digits", limit=9, clusterings=clusterings))[
        "params"
    ]
    assert (params["limit"], params["clusterings"]) == (9, clusterings)
    end(stack, "failed")
    assert shown(stack, collection_id)["version"] == 2
    params = accepted(post(stack, f"/{collection_id}/images", data="digits"))["params"]
    assert params["clusterings"][0]["method"] == "kmeans", "as of the newest version, not of a job that failed"
    end(stack)


def test_one_job_at_a_time_builds_and_what_is_built_is_not_deleted(stack: Stack) -> None:
    job = accepted(post(stack, **DIGITS))
    path = f"/{job['id'].replace('job_', 'col_')}"
    before = stored(stack)
    for answer in (post(stack, f"{path}/images", images=IMAGES), stack.client.delete(f"/v1/collections{path}")):
        status, code, message = error(answer)
        assert (status, code) == (409, "collection_building") and job["id"] in message
        assert answer.json()["error"]["details"]["job"] == job["id"]
    assert stored(stack) == before
    end(stack)


def test_collection_of_a_job_that_failed_is_gone_and_a_retry_founds_another(stack: Stack) -> None:
    accepted(post(stack, **DIGITS))
    failed = end(stack, "failed")
    assert error(stack.client.get(f"/v1/collections/{failed.replace('job_', 'col_')}"))[0] == 404
    again = accepted(stack.client.post(f"/v1/jobs/{failed}/retry"))
    assert shown(stack, again["id"].replace("job_", "col_"))["building"] == again["id"]
    end(stack)


def test_retry_of_an_addition_makes_the_next_version_of_the_same_collection(stack: Stack) -> None:
    collection_id = ready(stack)
    accepted(post(stack, f"/{collection_id}/images", images=IMAGES))
    failed = end(stack, "failed")
    accepted(post(stack, f"/{collection_id}/images", data="digits"))
    end(stack, file=OTHER_FILE)
    again = accepted(stack.client.post(f"/v1/jobs/{failed}/retry"))
    assert again["params"] == stack.job(failed)["params"]
    assert error(stack.client.post(f"/v1/jobs/{failed}/retry"))[:2] == (409, "collection_building")
    end(stack)
    assert shown(stack, collection_id)["version"] == 3
    assert stack.client.delete(f"/v1/collections/{collection_id}").status_code == 204
    assert error(stack.client.post(f"/v1/jobs/{failed}/retry"))[:2] == (404, "collection_not_found")


def test_canceled_at_the_door_leaves_nothing(stack: Stack) -> None:
    before = stack.client.get("/v1/collections").json()
    job = accepted(post(stack, **DIGITS))
    assert stack.client.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "canceled"
    assert stack.client.get("/v1/collections").json() == before


def test_trained_model_is_kept_for_the_collections_of_its_codes(stack: Stack) -> None:
    jobs = stack.jobs
    jobs.create(NewJob(kind="training", queue="train", params={}))
    [record] = jobs.claim("train", worker="test")
    trained = {name: value for name, value in card("vae-2").items() if name != "fetch_command"} | {"id": TRAINED}
    jobs.finish(record.id, record.fence, "succeeded", metrics={}, model=trained)
    collection_id = ready(stack, space=TRAINED, image_size=None, channels=None)
    answer = stack.client.delete(f"/v1/models/{TRAINED}")
    assert error(answer)[:2] == (409, "model_in_use")
    assert answer.json()["error"]["details"]["collections"] == [collection_id]
    stack.client.delete(f"/v1/collections/{collection_id}")
    assert stack.client.delete(f"/v1/models/{TRAINED}").status_code == 204


def test_collection_is_not_deleted_while_jobs_use_it(stack: Stack) -> None:
    collection_id = ready(stack)
    job_id, _ = stack.jobs.create(NewJob(kind="generation", queue="fast", params={}, collections=[collection_id]))
    status, code, message = error(stack.client.delete(f"/v1/collections/{collection_id}"))
    assert (status, code) == (409, "collection_in_use") and job_id in message
    stack.jobs.cancel(job_id)
    assert stack.client.delete(f"/v1/collections/{collection_id}").status_code == 204


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
    assert stack.client.get(f"{path}/t-sne-of-more").content == b"t-sne-of-more"
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


def test_version_from_before_members_were_listed_says_so(stack: Stack) -> None:
    collection_id = ready(stack)
    for path in ("members", "members/0/image", "duplicates"):
        status, code, message = error(stack.client.get(f"/v1/collections/{collection_id}/{path}"))
        assert (status, code) == (409, "members_not_listed") and message.endswith("add images.")


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


SPACES = "pixels, style, dcgan-faces, vae-2, vae-faces"
REFUSED: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no images": ({"data": None}, 422, "invalid_request", "images: Give `images` or `data`."),
    "two sources": ({"images": IMAGES}, 422, "invalid_request", "data: Give `images` or `data`, not both."),
    "no archive": ({"data": "zip_" + "0" * 64}, 404, "archive_not_found", "data: No archive zip_0"),
    "no image": (
        {"data": None, "images": [*IMAGES, "img_" + "0" * 64]},
        *(404, "image_not_found", "images.4: No image img_0"),
    ),
    "no name": ({"name": None}, 422, "invalid_request", "`name` must be a valid string."),
    "no model": (
        {"space": "vae-9", "image_size": None, "channels": None},
        *(422, "unknown_model", f"space: No model with an encoder is called 'vae-9'; there are {SPACES}."),
    ),
    "no encoder": (
        {"space": "gan-8", "image_size": None, "channels": None},
        *(422, "unknown_model", f"space: No model with an encoder is called 'gan-8'; there are {SPACES}."),
    ),
    "a size for a model": (
        {"space": "vae-2"},
        *(422, "invalid_request", "image_size: vae-2 has its own; only space pixels takes it."),
    ),
    "two numbers": (
        {"clusterings": [{"n_clusters": 3, "max_clusters": 4}]},
        *(422, "invalid_request", "clusterings.0.max_clusters: `n_clusters` gives the number, so none is chosen."),
    ),
    "no method": (
        {"clusterings": [{"method": "dbscan"}]},
        *(422, "invalid_request", "`clusterings.0` must have a `method`: 'kmeans', 'mixture', 'agglomerative'"),
    ),
    "other method's field": (
        {"clusterings": [{"method": "hdbscan", "n_clusters": 3}]},
        *(422, "invalid_request", "`clusterings.0.n_clusters` is not a field of this request"),
    ),
    "method twice": (
        {"clusterings": [{}, {"n_clusters": 3}]},
        *(422, "invalid_request", "clusterings: Each method may be named once."),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_field_and_what_is_allowed(stack: Stack, name: str) -> None:
    changed, status, code, message = REFUSED[name]
    before = stored(stack), stack.client.get("/v1/collections").json()
    answer = post(stack, **DIGITS | changed)
    found = error(answer)
    assert found[:2] == (status, code) and found[2].startswith(message), found[2]
    assert answer.json()["error"]["details"]["field"] == field_and_rule(message)[0]
    assert (stored(stack), stack.client.get("/v1/collections").json()) == before


def test_images_join_only_existing_collections(stack: Stack) -> None:
    before = stored(stack)
    assert error(post(stack, f"/{NO_COLLECTION}/images", images=IMAGES))[:2] == (404, "collection_not_found")
    assert error(post(stack, "/col_1/images", images=IMAGES))[:2] == (422, "invalid_request")
    for call in (stack.client.get, stack.client.delete):
        assert error(call(f"/v1/collections/{NO_COLLECTION}"))[:2] == (404, "collection_not_found")
    assert stored(stack) == before


def test_the_same_key_founds_one_collection(stack: Stack) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (accepted(post(stack, headers=headers, **DIGITS))["id"] for _ in range(2))
    assert first == second
    assert stack.jobs.collections.all()[0].building == first
    assert end(stack) == first


def test_two_requests_at_once_to_add_images(stack: Stack) -> None:
    """The second passed the API's own look before the first was queued."""
    collection_id = ready(stack)
    job = accepted(post(stack, f"/{collection_id}/images", images=IMAGES))
    with pytest.raises(Conflict, match=job["id"]):
        stack.jobs.create(NewJob(kind="collection", queue="collect", params={}, collection=collection_id))
    end(stack)


def test_examples_name_every_method_and_both_sources() -> None:
    values = [example["value"] for example in EXAMPLES.values()]
    methods = {each["method"] for value in values for each in value.get("clusterings", [])}
    assert methods == {"kmeans", "mixture", "agglomerative", "hdbscan"}
    for bodies in (values, [example["value"] for example in ADDITIONS.values()]):
        assert {source for body in bodies for source in ("images", "data") if source in body} == {"images", "data"}
