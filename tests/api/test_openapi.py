"""openapi.json is the code's own, says everything, and its examples run as they stand."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest

from api.main import app
from tests.stack import ROOT, Stack

DOCUMENT: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text())
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def test_file_is_what_the_code_says() -> None:
    assert app.openapi() == DOCUMENT, "run scripts/openapi"


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"] and operation["description"]
    assert [tag for tag in operation["tags"] if tag in {tag["name"] for tag in DOCUMENT["tags"]}] == operation["tags"]
    for parameter in operation.get("parameters", []):
        assert parameter["description"], parameter["name"]
    for status, response in operation["responses"].items():
        assert response["description"]
        assert "X-Request-ID" in response["headers"]
        if int(status) >= 400 and name != "GET /readyz":
            content = response["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}
            assert set(content["example"]["error"]) == {"code", "message", "details"}
        if status in ("429", "503") and name != "GET /readyz":
            assert "Retry-After" in response["headers"]
    if "202" in operation["responses"]:
        assert "Location" in operation["responses"]["202"]["headers"]


def test_names_are_readable() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {
        "FastTransfer",
        "GatysTransfer",
        "Sample",
        "Traversal",
        "Job",
        "JobPage",
        "Image",
        "Model",
        "ErrorAnswer",
    } <= set(schemas)
    assert all(name.isalpha() and name[0].isupper() for name in schemas)
    assert all(schema.get("description") for schema in schemas.values())
    identifiers = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(identifiers)) == len(identifiers)
    assert all(identifier.islower() and identifier.isidentifier() for identifier in identifiers)


def examples() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Returns (path, name, body) of every request example."""
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for name, example in content.get("examples", {}).items():
                yield path, name, example["value"]


EXAMPLES = {f"{path} {name}": (path, body) for path, name, body in examples()}


def test_every_json_request_has_examples() -> None:
    """Each branch of each body, by its schema."""
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            bodies = [body for at, _, body in examples() if at == path]
            for branch in content["schema"].get("oneOf", [content["schema"]]) if content else []:
                validator = jsonschema.Draft202012Validator(branch | {"components": DOCUMENT["components"]})
                assert any(map(validator.is_valid, bodies)), branch


@pytest.fixture(scope="module")
def run_example(stack: Stack) -> Callable[[str], dict[str, Any]]:
    """Runs an example, and before it the collection that it needs, once; returns the job."""

    @cache
    def run(name: str) -> dict[str, Any]:
        path, body = EXAMPLES[name]
        reads_text = "text" in body or (isinstance(body.get("start"), dict) and "text" in body["start"])
        of_space = "embeddings of a CLIP" if reads_text else "codes of a model"
        if "{collection_id}" in path:
            path = path.format(collection_id=collection(of_space))
        if "collection" in body:
            body = body | {"collection": collection(of_space)}
        answer = stack.client.post(path, json=body, headers={"Prefer": "wait=25"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def collection(name: str) -> str:
        return str(run(f"/v1/collections {name}")["metrics"]["collection"])

    return run


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(run_example: Callable[[str], dict[str, Any]], name: str) -> None:
    job, body = run_example(name), EXAMPLES[name][1]
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["outputs"][0]["width"] == body.get("size", job["outputs"][0]["width"])


def test_docs_page(stack: Stack) -> None:
    assert "/openapi.json" in stack.client.get("/docs").text
    served = stack.client.get("/openapi.json").json()
    assert served["info"] == DOCUMENT["info"]
    assert set(DOCUMENT["paths"]) <= set(served["paths"])
