"""An unexpected error shows the caller only an id to quote."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from api import access
from api.main import create_app
from jobs.settings import Settings
from jobs.store.jobs import JobStore
from jobs.store.keys import Keys
from jobs.store.uploads import Uploads

SECRET = "a-secret-of-the-environment"
TELLING = (SECRET, "Traceback", "RuntimeError", __file__, str(Path.cwd()))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The real app with two more routes, which raise."""
    monkeypatch.setenv("ATELIER_TEST_SECRET", SECRET)
    monkeypatch.setattr(
        access, "PUBLIC", (*access.PUBLIC, "/raise", "/raise-later")
    )  # there is no Redis here to look for keys in
    app = create_app(Settings(storage_url=str(tmp_path / "objects")))

    @app.get("/raise")
    def fail() -> None:
        raise RuntimeError(f"{os.environ['ATELIER_TEST_SECRET']} in {__file__}")

    @app.get("/raise-later")
    def fail_later() -> StreamingResponse:
        def body() -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError(os.environ["ATELIER_TEST_SECRET"])

        return StreamingResponse(body())

    return app


async def get(app: FastAPI, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, headers={"X-Request-ID": "ask-for-me"})


@pytest.mark.anyio
async def test_answer_tells_nothing(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "atelier.api"):
        answer = await get(app, "/raise")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "ask-for-me"
    message = "Unexpected error; see the API log under the X-Request-ID of this response."
    assert answer.json() == {
        "error": {"code": "internal", "message": message, "details": {}, "request_id": "ask-for-me"}
    }
    for telling in TELLING:
        assert telling not in answer.text + str(answer.headers)
    assert caplog.records[0].exc_info


LAYERS = {
    "access": (Keys, "admit", "/v1/models"),
    "list of records": (JobStore, "page", "/v1/jobs"),
    "record": (JobStore, "placed", f"/v1/jobs/job_{'0' * 24}"),
    "uploads": (Uploads, "get", f"/v1/images/img_{'0' * 64}"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("layer", LAYERS)
async def test_an_error_of_any_layer_tells_nothing(layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise S6."""
    owner, method, path = LAYERS[layer]
    monkeypatch.setenv("ATELIER_TEST_SECRET", SECRET)
    if layer != "access":
        monkeypatch.setattr(access, "PUBLIC", (*access.PUBLIC, path))

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{os.environ['ATELIER_TEST_SECRET']} in {__file__}")

    monkeypatch.setattr(owner, method, fail)
    answer = await get(create_app(Settings(storage_url=str(tmp_path / "objects"))), path)
    found = [telling for telling in TELLING if telling in answer.text + str(answer.headers)]
    print(f"S6: {layer}: {answer.status_code} {answer.json()['error']['code']}, {len(found)} of {len(TELLING)} shown")
    assert (answer.status_code, answer.json()["error"]["code"], found) == (500, "internal", [])


@pytest.mark.anyio
async def test_it_is_counted(app: FastAPI) -> None:
    await get(app, "/raise")
    metrics = await get(app, "/metrics")
    assert 'atelier_http_requests_total{method="GET",route="/raise",status="500"}' in metrics.text


@pytest.mark.anyio
async def test_answer_on_its_way_is_cut_off(app: FastAPI) -> None:
    """A body that ends normally would look complete."""
    with pytest.raises(RuntimeError):
        await get(app, "/raise-later")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
