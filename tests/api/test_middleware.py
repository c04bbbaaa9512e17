"""One line of the log for each request, and the way of a request's id to the worker; the stack logs JSON."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from api.main import create_app
from jobs.settings import Settings
from tests.stack import Stack

SECRETS = ("a-secret-prompt", "a-secret-key", "a-secret-query", "a-secret-token")


def test_a_request_is_one_line(stack: Stack) -> None:
    stack.client.get("/v1/jobs?limit=2", headers={"X-Request-ID": "one-line"})
    line = stack.line("api", "one-line")
    assert stack.log("api").count("one-line") == 1
    assert line["logger"] == "atelier.access" and 0 < line["duration_ms"] < 5000
    assert line["message"].startswith("GET /v1/jobs 200 ")
    assert (line["method"], line["path"], line["route"], line["status"]) == ("GET", "/v1/jobs", "/v1/jobs", 200)


def test_a_path_cannot_begin_another_line(stack: Stack) -> None:
    stack.client.get(f"/a%0AERROR%20b/{'x' * 300}", headers={"X-Request-ID": "two-lines"})
    line = stack.line("api", "two-lines")
    assert line["path"] == f"/a%0AERROR%20b/{'x' * 300}"[:204] and line["route"] == "none"


def test_a_request_is_followed_to_the_worker(stack: Stack) -> None:
    job = stack.submit({"X-Request-ID": "to-the-worker", "Prefer": "wait=30"})
    assert stack.line("api", "to-the-worker")["job_id"] == job["id"]
    line = stack.line("w1", "to-the-worker")
    assert (line["job_id"], line["tenant"]) == (job["id"], "default") and "succeeded" in line["message"]


def test_a_change_is_a_line_of_the_audit_log(stack: Stack, done: dict[str, Any]) -> None:
    stack.client.post(f"/v1/jobs/{done['id']}/cancel", headers={"X-Request-ID": "who-did-it"})
    line = stack.line("api", "who-did-it")
    assert line["logger"] == "atelier.audit" and (line["tenant"], line["key_id"]) == ("default", "")
    assert (line["route"], line["path"]) == ("/v1/jobs/{job_id}/cancel", f"/v1/jobs/{done['id']}/cancel")


def test_headers_bound_what_a_response_may_do(stack: Stack) -> None:
    for path in ("/v1/jobs", "/healthz", "/nowhere", "/docs"):
        headers = stack.client.get(path).headers
        assert (headers["X-Frame-Options"], headers["Referrer-Policy"]) == ("DENY", "no-referrer")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert ("default-src 'none'" in headers["Content-Security-Policy"]) == (path != "/docs")
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.anyio
async def test_pages_of_listed_origins_may_call_the_api(tmp_path: Path) -> None:
    app = create_app(Settings(storage_url=str(tmp_path), cors_origins="https://app.example http://localhost:3000"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,prefer"}
        for origin, allowed in (
            ("https://app.example", True),
            ("http://localhost:3000", True),
            ("https://b.example", False),
        ):
            preflight = await client.options("/v1/jobs", headers=asked | {"Origin": origin})
            assert (preflight.status_code == 200) == allowed
            answer = await client.get("/healthz", headers={"Origin": origin})
            assert (answer.headers.get("Access-Control-Allow-Origin") == origin) == allowed
    with pytest.raises(ValueError, match="must be origins"):
        Settings(cors_origins="app.example")


@pytest.mark.parametrize(("path", "status"), [("/v1/jobs/job_1", 422), ("/nowhere", 404), ("/v1/jobs?limit=0", 422)])
def test_an_error_response_names_its_request(stack: Stack, path: str, status: int) -> None:
    answer = stack.client.get(path, headers={"X-Request-ID": "refused"})
    assert answer.status_code == status
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"] == "refused"


def test_no_secret_and_no_prompt_is_logged(stack: Stack) -> None:
    body = {"mode": "text-to-image", "model": "stable-diffusion-avatars", "prompt": "a-secret-prompt"}
    made = stack.client.post("/v1/generations", json=body, headers={"Idempotency-Key": "a-secret-key"})
    assert made.status_code == 202, made.text
    stack.client.post(f"/v1/jobs/{made.json()['id']}/cancel")
    stack.finished(made.json()["id"])
    assert stack.client.post("/v1/generations", json=body | {"mode": "a-secret-prompt"}).status_code == 422
    stack.client.get("/v1/jobs?cursor=a-secret-query")
    assert stack.client.get("/v1/jobs", headers={"Authorization": "Bearer a-secret-token"}).status_code == 200
    logged = "".join(stack.log(process) for process in ("api", "w1", "upkeep"))
    print(f"S6: {sum(secret in logged for secret in SECRETS)} of {len(SECRETS)} secrets in {len(logged)} bytes of logs")
    assert "/v1/generations 422" in logged
    assert [secret for secret in SECRETS if secret in logged] == []
