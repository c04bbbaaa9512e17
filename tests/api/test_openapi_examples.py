"""The examples of openapi.json run as they stand."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from api.collections import OWN_VECTORS
from api.style_transfers import FILM, KEPT_STYLE
from tests.api.examples import examples
from tests.stack import Stack

# Other tests make keys (the first one closes an installation to requests without one) and webhooks, add and share
# models, name clusters, and send what answers without a job.
MADE_ELSEWHERE = (
    *("/v1/keys", "/v1/webhooks", "/v1/models", "/v1/models/{model_id}", "/openai/v1/images/generations"),
    "/v1/collections/{collection_id}",
)
EXAMPLES = {f"{path} {name}": (path, body) for path, name, body in examples() if path not in MADE_ELSEWHERE}
KEEPING = [name for name, (path, _) in EXAMPLES.items() if path == "/v1/styles"]


@pytest.fixture(scope="module")
def run_example(stack: Stack, kept_style: str, own_vectors: str, film: str) -> Callable[[str], dict[str, Any]]:
    """Runs an example, and before it the collection that it needs, once; returns the job."""

    @cache
    def run(name: str) -> dict[str, Any]:
        path, body = EXAMPLES[name]
        reads_text = "text" in body or (isinstance(body.get("start"), dict) and "text" in body["start"])
        of_space = "embeddings of a CLIP" if reads_text else "codes of a model"
        if "{collection_id}" in path:
            path = path.format(collection_id=collection(of_space))
        if "collection" in body:
            body = body | {"collection": collection("styles" if "content" in body else of_space)}
        text = json.dumps(body).replace(KEPT_STYLE, kept_style).replace(OWN_VECTORS, own_vectors)
        body = json.loads(text.replace(FILM, film))
        answer = stack.client.post(path, json=body)
        assert answer.status_code in (200, 202), answer.text
        return stack.finished(answer.json()["id"])

    def collection(name: str) -> str:
        return str(run(f"/v1/collections {name}")["metrics"]["collection"])

    return run


@pytest.mark.parametrize("name", KEEPING)
def test_a_style_is_kept(stack: Stack, run_example: Callable[[str], dict[str, Any]], name: str) -> None:
    body = EXAMPLES[name][1]
    if "job" in body:
        body = body | {"job": run_example("/v1/cluster-samplings styles")["id"]}
    assert stack.client.post("/v1/styles", json=body).status_code == 201


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in KEEPING])
def test_example_runs(run_example: Callable[[str], dict[str, Any]], name: str) -> None:
    job, body = run_example(name), EXAMPLES[name][1]
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["outputs"][0]["width"] == body.get("size", job["outputs"][0]["width"])
