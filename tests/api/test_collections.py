"""Collections at the door: what is resolved, stored and shown. Their jobs are ended by hand, without a worker."""

from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.collections import ADDITIONS, EXAMPLES
from api.style_transfers import CAT
from jobs.errors import Conflict
from jobs.store.records import Ending, NewJob
from tests.api import collecting
from tests.api.cards import card
from tests.api.collecting import (
    DIGITS,
    FIGURES,
    FILE,
    IMAGES,
    NO_COLLECTION,
    OTHER_FILE,
    accepted,
    end,
    error,
    post,
    ready,
)
from tests.api.conftest import stored
from tests.stack import Stack

stack = collecting.stack  # a fixture

TRAINED = "vae-0123456789ab"


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
        **{"figures": FIGURES, "cluster_names": {}},
    }
    assert ended["metrics"] == {
        **{"warnings": [], "safety": None, "figures": FIGURES},
        **{"collection": collection_id, "version": 1},
    }
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


def test_own_vectors_are_in_a_space_of_any_name(stack: Stack) -> None:
    file = BytesIO()
    pq.write_table(pa.table({"vectors": [[1.0, 2.0], [3.0, 4.0]]}), file)
    uploaded = stack.client.post("/v1/archives", files={"file": file.getvalue()}).json()
    assert (uploaded["n_files"], uploaded["vectors"]) == (1, {"n": 2, "dim": 2, "problem": None})
    job = accepted(post(stack, name="Own", space="clip-vit-l-14", vectors=uploaded["id"]))
    assert (job["params"]["vectors"], job["params"]["standardize"]) == (uploaded["id"], False)
    collection = "col_" + job["id"].removeprefix("job_")
    [record] = stack.jobs.claim("collect", worker="test")
    made = {"file": FILE, "figures": FIGURES | {"dim": 2}}
    stack.jobs.finish(record.id, record.fence, Ending("succeeded", {}, collection=made))
    steering = stack.client.post("/v1/pc-steerings", json={"collection": collection, "components": [{"component": 0}]})
    assert error(steering)[:2] == (422, "no_decoder")
    assert error(post(stack, f"/{collection}/images", data="digits"))[:2] == (422, "unknown_model")
    file = BytesIO()
    pq.write_table(pa.table({"vectors": [[1.0, 2.0, 3.0]] * 2}), file)
    others = stack.client.post("/v1/archives", files={"file": file.getvalue()}).json()["id"]
    refused = error(post(stack, f"/{collection}/images", vectors=others))
    assert refused == (422, "vector_mismatch", "vectors: They have 3 values; those of the collection have 2.")
    assert accepted(post(stack, f"/{collection}/images", vectors=uploaded["id"]))["params"]["space"] == "clip-vit-l-14"
    [record] = stack.jobs.claim("collect", worker="test")
    stack.jobs.finish(record.id, record.fence, Ending("canceled", {}))


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
    filled = {"criterion": "silhouette", "candidates": None}
    assert (params["limit"], params["clusterings"]) == (9, [clusterings[0] | filled])
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
    jobs.finish(record.id, record.fence, Ending("succeeded", {}, model=trained))
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


def test_version_from_before_members_were_listed_says_so(stack: Stack) -> None:
    collection_id = ready(stack)
    for path in ("members", "members/0/image", "duplicates"):
        status, code, message = error(stack.client.get(f"/v1/collections/{collection_id}/{path}"))
        assert (status, code) == (409, "members_not_listed") and message.endswith("add images.")


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
    assert methods == {"kmeans", "mixture", "agglomerative", "spectral", "hdbscan"}
    for bodies in (values, [example["value"] for example in ADDITIONS.values()]):
        assert {source for body in bodies for source in ("images", "data") if source in body} == {"images", "data"}
