"""openapi.json is the code's own and says everything."""

import jsonschema
import pytest

from api.main import app
from tests.api.examples import DOCUMENT, examples
from tests.stack import Stack

OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}

ERRORS = {  # by whether a path is of OpenAI's API
    False: ("ErrorAnswer", {"code", "message", "details", "request_id"}),
    True: ("OpenAIErrorAnswer", {"message", "type", "param", "code"}),
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
            schema, fields = ERRORS["/openai/" in name]
            assert content["schema"] == {"$ref": f"#/components/schemas/{schema}"}
            assert set(content["example"]["error"]) == fields
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


def test_every_json_request_has_examples() -> None:
    """Each branch of each body, by its schema."""
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            bodies = [body for at, _, body in examples() if at == path]
            for branch in content["schema"].get("oneOf", [content["schema"]]) if content else []:
                validator = jsonschema.Draft202012Validator(branch | {"components": DOCUMENT["components"]})
                assert any(map(validator.is_valid, bodies)), branch


def test_docs_page(api_alone: Stack) -> None:
    assert "/openapi.json" in api_alone.client.get("/docs").text
    served = api_alone.client.get("/openapi.json").json()
    assert served["info"] == DOCUMENT["info"]
    assert set(DOCUMENT["paths"]) <= set(served["paths"])
