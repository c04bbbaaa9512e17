"""Pc-steerings and cluster-samplings at the door: what is resolved and what is refused, without a worker."""

from typing import Any

import httpx
import pytest

from api.generations import SMILEY, WINK
from jobs.store.records import Ending
from tests.api.conftest import stored
from tests.stack import Stack

FIGURES: dict[str, Any] = {
    "n_images": 200,
    "n_components": 5,
    "attribute_names": ["glasses", "hat"],
    "clusterings": {"kmeans": {"n_clusters": 3}, "mixture": {"n_clusters": 40}},
}
COLLECTION: dict[str, Any] = {"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1, "data": "digits"}
PC = [{"component": 0}]


@pytest.fixture(scope="module")
def stack(api_alone: Stack) -> Stack:
    """Valkey and the API."""
    api_alone.redis.flushall()
    return api_alone


def build(stack: Stack, path: str = "", **body: Any) -> None:
    """A version of a collection, its job ended by hand."""
    assert stack.client.post(f"/v1/collections{path}", json=body).status_code == 202
    [record] = stack.jobs.claim("collect", worker="test")
    made = {"file": "a" * 64, "figures": FIGURES}
    stack.jobs.finish(record.id, record.fence, Ending("succeeded", {}, collection=made))


@pytest.fixture(scope="module")
def collection(stack: Stack) -> str:
    """A collection with two versions."""
    build(stack, **COLLECTION)
    collection_id = stack.jobs.collections.all()[0].id
    build(stack, f"/{collection_id}/images", data="digits", limit=10)
    return collection_id


def steer(stack: Stack, collection: str, **body: Any) -> httpx.Response:
    return stack.client.post("/v1/pc-steerings", json={"collection": collection, **body})


def sample(stack: Stack, collection: str, **body: Any) -> httpx.Response:
    return stack.client.post("/v1/cluster-samplings", json={"collection": collection, **body})


def test_what_is_resolved(stack: Stack, collection: str) -> None:
    job = steer(stack, collection, start={"cluster": 2}, style_from=SMILEY).json()
    params = job["params"]
    assert params["start"] == {"cluster": 2, "clustering": "kmeans"}, "the collection's first"
    assert (params["version"], params["style_components"]) == (2, 5), "the newest; ten, or as many as there are"
    assert params["style_strengths"] == [0, 0.25, 0.5, 0.75, 1] and params["style_from"].startswith("img_")
    assert (job["kind"], stack.jobs.get(job["id"]).queue) == ("pc-steering", "gpu")
    params = steer(stack, collection, start=WINK, version=1, components=PC).json()["params"]
    assert params["version"] == 1 and params["start"].startswith("img_")
    params = sample(stack, collection).json()["params"]
    assert (params["clustering"], params["cluster"], params["n"], params["temperature"]) == ("kmeans", "all", 8, 1.0)


def test_a_collection_in_use_is_not_deleted(stack: Stack, collection: str) -> None:
    job = sample(stack, collection, cluster=0).json()
    refused = stack.client.delete(f"/v1/collections/{collection}").json()["error"]
    assert refused["code"] == "collection_in_use" and job["id"] in refused["details"]["jobs"]


def test_a_collection_still_being_built_is_refused_with_its_job(stack: Stack) -> None:
    job = stack.client.post("/v1/collections", json=COLLECTION).json()
    collection_id = job["id"].replace("job_", "col_")
    for answer in (steer(stack, collection_id, components=PC), sample(stack, collection_id)):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "collection_not_ready") and job["id"] in error["message"]
    stack.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert steer(stack, collection_id, components=PC).json()["error"]["code"] == "collection_not_found"


STEERINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "nothing to do": ({}, "invalid_request", "components: Give `components` or `style_from`, one of the two."),
    "both": ({"components": PC, "style_from": SMILEY}, "invalid_request", "components: Give `components` or"),
    "no component": (
        {"components": [{"component": 5}]},
        *("no_such_component", "components.0.component: The collection has 5 components, 0 to 4."),
    ),
    "beyond 10 sd": (
        {"components": [{"component": 0, "strengths": [10.5]}]},
        "invalid_request",
        "`components.0.strengths.0` must be at most 10",
    ),
    "no attribute": (
        {"components": [{"attribute": "wings"}]},
        *("unknown_attribute", "components.0.attribute: There is no attribute 'wings'; there are glasses, hat."),
    ),
    "no cluster": (
        {"components": PC, "start": {"cluster": 3}},
        *("no_such_cluster", "start.cluster: The clustering has 3 clusters, 0 to 2."),
    ),
    "no clustering": (
        {"components": PC, "start": {"cluster": 0, "clustering": "hdbscan"}},
        *(
            "unknown_clustering",
            "start.clustering: The collection has no clustering 'hdbscan'; it has kmeans, mixture.",
        ),
    ),
    "a start of no sort": (
        {"components": PC, "start": 3},
        "invalid_request",
        "`start` must be 'mean', 'photo', an image, a kept style or an object with `cluster`, `text` or `vector`.",
    ),
    "a text in a space that reads none": (
        {"components": PC, "start": {"text": "a face"}},
        *("no_texts", "start.text: The space pixels does not embed texts; start from an image, 'mean' or a cluster."),
    ),
    "a content in a space that paints none": (
        {"components": PC, "content": SMILEY},
        *("no_content", "content: The space pixels paints no content image; style does."),
    ),
    "no text": ({"components": PC, "start": {"text": ""}}, "invalid_request", "`start.text` must "),
    "strengths that do not pair": (
        {"components": [{"component": 0, "strengths": [1]}, {"component": 1}], "combine": True},
        *("invalid_request", "combine: Each of `components` must have equally many strengths."),
    ),
    "too many for a style": (
        {"style_from": SMILEY, "style_components": 6},
        *("no_such_component", "style_components: The collection has 5 components"),
    ),
    "not for components": (
        {"components": PC, "style_strengths": [1]},
        *("invalid_request", "style_strengths: Goes with `style_from`, which is absent."),
    ),
    "no version": (
        {"components": PC, "version": 3},
        *("no_such_version", "version: The collection has versions 1 to 2."),
    ),
}
NO_CHOICE = "`cluster` must be the number of a cluster, counted from 0, or 'all'."
SAMPLINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no cluster": ({"cluster": 3}, "no_such_cluster", "cluster: The clustering has 3 clusters, 0 to 2."),
    "a flag": ({"cluster": True}, "invalid_request", NO_CHOICE),
    "a number in words": ({"cluster": "0"}, "invalid_request", NO_CHOICE),
    "another word": ({"cluster": "each"}, "invalid_request", NO_CHOICE),
    "nothing": ({"cluster": None}, "invalid_request", NO_CHOICE),
    "a negative cluster": (
        *({"cluster": -1}, "invalid_request"),
        "`cluster` must be at least 0.",
    ),
    "too many": (
        {"clustering": "mixture", "n": 8},
        *("too_many_pictures", "n: 40 clusters of 8 are more than 256 images."),
    ),
    "too hot": ({"temperature": 4}, "invalid_request", "`temperature` must "),
}


@pytest.mark.parametrize("name", STEERINGS)
def test_steering_is_refused_with_the_field_and_what_is_allowed(stack: Stack, collection: str, name: str) -> None:
    body, code, message = STEERINGS[name]
    check_refused(stack, steer(stack, collection, **body), code, message)


@pytest.mark.parametrize("name", SAMPLINGS)
def test_sampling_is_refused_with_the_field_and_what_is_allowed(stack: Stack, collection: str, name: str) -> None:
    body, code, message = SAMPLINGS[name]
    check_refused(stack, sample(stack, collection, **body), code, message)


def test_a_space_without_a_decoder_is_not_steered(stack: Stack) -> None:
    build(stack, name="Photos", space="photo", data="digits")
    collection_id = stack.jobs.collections.all()[0].id
    message = "collection: The space photo has no decoder: nothing is steered in it; cluster-samplings show members."
    check_refused(stack, steer(stack, collection_id, components=PC), "no_decoder", message)
    assert sample(stack, collection_id).status_code == 202
    [record] = stack.jobs.claim("gpu", worker="test")
    stack.jobs.finish(record.id, record.fence, Ending("failed", {}, error={"code": "x", "message": "x"}))


def check_refused(stack: Stack, answer: httpx.Response, code: str, message: str) -> None:
    before = stored(stack)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, code), error
    assert error["message"].startswith(message), error["message"]
    assert stored(stack) == before
