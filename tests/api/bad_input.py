"""What the tests of bad input share."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from images.sniff import FORMATS
from tests.api.conftest import elsewhere, stored
from tests.stack import Stack

UNKNOWN = "img_" + "0" * 64

NO_FIELD = "is not a field of this request, or the method or mode does not use it."

NOT_AN_IMAGE = f"The file is not an image in one of: {', '.join(FORMATS).lower()}."


@pytest.fixture(autouse=True)
def nothing_happens(stack: Stack) -> Iterator[None]:
    """Checks that objects, records and queues did not change and that every process still works."""
    before, files = stored(stack), elsewhere(stack.folder)
    yield
    assert stored(stack) == before
    assert elsewhere(stack.folder) == files
    assert stack.client.get("/readyz").status_code == 200
    assert all(process.poll() is None for process in stack.processes.values())


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """Checks the shape of an error and returns it."""
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "details", "request_id"]
    assert answer.headers["x-request-id"] == body["error"]["request_id"] != ""
    assert answer.headers["content-type"] == "application/json"
    message = body["error"]["message"]
    assert message.endswith((".", "…")) and "\n" not in message and "Traceback" not in message
    return dict(body["error"])


def refused(answer: httpx.Response, status: int, code: str, message: str) -> None:
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["message"]) == (status, code, message)
