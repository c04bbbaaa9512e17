"""A request needs a key with the right scope once a key was made."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from api.access import admit, is_public, needed_scope
from api.generations import AVATAR
from api.readiness import Workers, _safety
from jobs.limits import Limits
from jobs.schemas import SafetyPolicy
from jobs.store.keys import SCOPES, Scope
from jobs.store.records import NewJob
from models import catalogue
from tests.api.cards import card
from tests.api.conftest import FAST, image_file
from tests.api.examples import DOCUMENT
from tests.api.test_schemathesis import labeled_zip
from tests.stack import Stack

OPERATIONS = [(method.upper(), path) for path, each in DOCUMENT["paths"].items() for method in each]
BIG = {"Content-Type": "application/json", "Content-Length": "1000000"}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Valkey and the API; a key was made."""
    made = Stack(tmp_path_factory.mktemp("closed"), ATELIER_LOG_FORMAT="json")
    made.start_valkey()
    made.start_api("api.main:app")
    assert made.client.get("/v1/jobs").status_code == 200
    made.jobs.keys.create("first", scopes=["read"])
    yield made
    made.stop()


def bearer(stack: Stack, *scopes: Scope, **options: Any) -> dict[str, str]:
    """The header of a new key."""
    return {"Authorization": f"Bearer {stack.jobs.keys.create('test', scopes=scopes, **options)[1]}"}


def filled(path: str) -> str:
    return path.replace("{index}", "0").replace("{member_id}", "0").replace("{", "").replace("}", "")


def test_every_other_operation_needs_a_key(closed: Stack) -> None:
    for method, path in OPERATIONS:
        answer = closed.client.request(method, filled(path))
        if is_public(path):
            assert answer.status_code in (200, 503), path
        else:
            theirs, error = path.startswith("/openai/"), answer.json()["error"]
            assert (answer.status_code, error["code"]) == (401, "invalid_api_key" if theirs else "unauthorized"), path
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="atelier"'
            assert theirs or error["request_id"] == answer.headers["X-Request-ID"]
    for path in ("/docs", "/redoc", "/openapi.json", "/static-offline-docs/swagger-ui.css"):
        assert closed.client.get(path).status_code == 200
    for path in ("/nowhere", "//v1/jobs", "/v1/jobs/", "/static-offline-docs/../v1/jobs", "/docs/../v1/jobs"):
        assert closed.client.get(path).status_code in (401, 404), path


def test_each_scope_opens_its_own_operations_only(closed: Stack) -> None:
    for scope in SCOPES:
        headers = bearer(closed, scope)
        for method, path in OPERATIONS:
            if not is_public(path):
                answer = closed.client.request(method, filled(path), headers=headers)
                allowed = needed_scope(method, path) == scope
                assert (answer.status_code == 403) != allowed, (scope, method, path)
                if not allowed:
                    error = answer.json()["error"]
                    assert error["code"] == "forbidden" and f"`{needed_scope(method, path)}`" in error["message"]


def test_a_key_is_sent_in_either_header(closed: Stack) -> None:
    text = closed.jobs.keys.create("test", scopes=["read"])[1]
    for headers in ({"Authorization": f"Bearer {text}"}, {"authorization": f"bearer  {text}"}, {"X-API-Key": text}):
        assert closed.client.get("/v1/jobs", headers=headers).status_code == 200
    for headers in ({"Authorization": f"Basic {text}"}, {"Authorization": text}, {"X-API-Key": f"Bearer {text}"}):
        assert closed.client.get("/v1/jobs", headers=headers).status_code == 401
    assert text.split("_", 2)[2] not in closed.log("api")


def test_a_body_without_a_key_is_not_read(closed: Stack) -> None:
    """The response comes before the first byte of the body."""
    lines = ["POST /v1/style-transfers HTTP/1.1", "Host: a", *(f"{name}: {value}" for name, value in BIG.items())]
    with socket.create_connection(("127.0.0.1", closed.api_port), 5) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")


def test_keys_are_managed_by_keys_with_the_scope(closed: Stack) -> None:
    headers = bearer(closed, "admin")
    [example] = DOCUMENT["paths"]["/v1/keys"]["post"]["requestBody"]["content"]["application/json"]["examples"].values()
    answer = closed.client.post("/v1/keys", json=example["value"] | {"expires_in": 60.0}, headers=headers)
    made = answer.json()
    assert answer.status_code == 201 and made["tenant"] == "acme" and made["revoked_at"] is None
    reading = {"X-API-Key": made["key"]}
    assert closed.client.get("/v1/jobs", headers=reading).status_code == 200
    rotated = closed.client.post(f"/v1/keys/{made['id']}/rotate", headers=headers).json()
    assert closed.client.get("/v1/jobs", headers=reading).status_code == 401
    assert closed.client.get("/v1/jobs", headers={"X-API-Key": rotated["key"]}).status_code == 200
    assert [closed.client.delete(f"/v1/keys/{made['id']}", headers=headers).status_code for _ in "12"] == [204, 204]
    assert closed.client.get("/v1/jobs", headers={"X-API-Key": rotated["key"]}).status_code == 401
    listed = closed.client.get("/v1/keys", headers=headers).json()["keys"]
    [entry] = [each for each in listed if each["id"] == made["id"]]
    assert entry["revoked_at"] and "key" not in entry
    assert rotated["key"] not in json.dumps(listed)
    assert closed.client.get("/v1/keys", headers=bearer(closed, "read", "submit", "train")).status_code == 403


def test_the_log_names_the_key_of_a_request_and_never_its_secret(closed: Stack) -> None:
    key, text = closed.jobs.keys.create("shop", tenant="shop", scopes=["read"])
    closed.client.get("/v1/jobs", headers={"Authorization": f"Bearer {text}", "X-Request-ID": "of-the-shop"})
    closed.client.get("/v1/jobs", headers={"X-API-Key": f"{text}x"})
    line = closed.line("api", "of-the-shop")
    assert (line["tenant"], line["key_id"], line["status"]) == ("shop", key.id, 200)
    assert text.split("_", 2)[2] not in closed.log("api")


def test_an_open_installation_says_so_and_lets_only_its_own_machine_manage_it(api_alone: Stack) -> None:
    assert "No API key was made: everybody" in api_alone.log("api")
    assert api_alone.client.get("/v1/keys").json() == {"keys": []}
    assert api_alone.client.post("/v1/models/nowhere/unload").status_code == 404

    settings = api_alone.settings.model_copy(update={"host": "0.0.0.0", "allow_anonymous": True})
    client = TestClient(admit(PlainTextResponse("served"), settings, api_alone.jobs.keys))
    answer = client.post("/v1/keys", json={"name": "One"})
    assert (answer.status_code, answer.json()["error"]["details"]) == (403, {"needed": "admin"})
    assert client.post("/v1/style-transfers").text == "served"


def test_another_address_needs_keys_or_permission(closed: Stack) -> None:
    """The API refuses to start without either."""
    closed.redis.copy("atelier:keys", "kept")
    closed.redis.delete("atelier:keys")
    try:
        code = "import api.server; api.server.uvicorn.run = lambda *_, **__: print('serves'); api.server.serve()"
        for env, serves in (({}, False), ({"ATELIER_ALLOW_ANONYMOUS": "true"}, True), ({"ATELIER_HOST": "::1"}, True)):
            run = subprocess.run(
                [sys.executable, "-c", code],
                env={**closed.env, "ATELIER_HOST": "0.0.0.0", **env},
                cwd=closed.folder,
                capture_output=True,
                text=True,
            )
            assert (run.stdout == "serves\n") == serves == (run.returncode == 0), run.stderr
            assert serves or "atelier-admin keys create" in run.stderr
    finally:
        closed.redis.rename("kept", "atelier:keys")


def test_an_administrator_unloads_a_model_that_is_known(closed: Stack) -> None:
    closed.jobs.heartbeats.beat("away@test", {"queues": [], "cards": [card("vae-2")], "installed": []})
    since, _ = closed.jobs.models.unloaded(None)
    for model, status in (("vae-2", 204), ("nowhere", 404)):
        answer = closed.client.post(f"/v1/models/{model}/unload", headers=bearer(closed, "admin"))
        assert answer.status_code == status
    assert closed.jobs.models.unloaded(since)[1] == ["vae-2"]


def test_a_key_with_a_limit_is_paced(closed: Stack) -> None:
    headers = bearer(closed, "read", limits=Limits(requests_per_minute=2))
    answers = [closed.client.get("/v1/jobs", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    states = [f'"requests";r={left};t={reset_s}' for left, reset_s in ((1, 30), (0, 60), (0, 60))]
    assert [answer.headers["RateLimit"] for answer in answers] == states
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"requests";q=2;w=60'}
    error = answers[2].json()["error"]
    assert error["code"] == "rate_limited" and error["details"] == {"limit": "requests_per_minute", "allowed": 2}
    assert int(answers[2].headers["Retry-After"]) == 30
    line = closed.line("api", answers[2].headers["X-Request-ID"])
    assert line["key_id"] == headers["Authorization"].split("_")[1]
    assert "RateLimit" not in closed.client.get("/v1/jobs", headers=bearer(closed, "read")).headers


def test_uploads_beyond_the_stored_bytes_are_refused_before_they_are_stored(closed: Stack) -> None:
    files = [{"file": image_file(size=(64, 64), seed=seed)} for seed in (1, 2)]  # noise of about 12 kB each
    limited = bearer(closed, "submit", "read", limits=Limits(stored_bytes=13_000), tenant="small")
    first = closed.client.post("/v1/images", files=files[0], headers=limited)
    stored = {path.name for path in (closed.folder / "objects").iterdir()}
    refused = closed.client.post("/v1/images", files=files[1], headers=limited)
    assert (first.status_code, refused.status_code) == (201, 429) and refused.headers["Retry-After"]
    assert refused.json()["error"]["details"] == {"limit": "stored_bytes", "allowed": 13_000}
    archive = closed.client.post("/v1/archives", files={"file": labeled_zip()}, headers=limited)
    assert archive.status_code == 429
    inside = closed.client.post("/v1/style-transfers", json=FAST, headers=limited)
    assert inside.status_code == 429 and inside.json()["error"]["details"]["limit"] == "stored_bytes"
    assert {path.name for path in (closed.folder / "objects").iterdir()} == stored
    closed.client.delete(f"/v1/images/{first.json()['id']}", headers=limited)
    assert closed.client.post("/v1/images", files=files[1], headers=limited).status_code == 201


def test_usage_is_shown_beside_the_limits_of_the_key(closed: Stack) -> None:
    limits = Limits(requests_per_minute=60, queued_jobs=5, steps=50)
    headers = bearer(closed, "read", "submit", limits=limits, tenant="counting")
    image = closed.client.post("/v1/images", files={"file": image_file(seed=7)}, headers=headers).json()
    closed.jobs.of("counting").create(NewJob("probe", "fast", {}))
    shown = closed.client.get("/v1/usage", headers=headers).json()
    assert shown["tenant"] == "counting" and shown["period_ends_at"]
    counted = {"queued_jobs": 1, "running_jobs": 0, "training_hours": 0, "stored_bytes": image["size_bytes"]}
    assert shown["used"] == counted | {"requests_per_minute": 2}
    assert {name: limit for name, limit in shown["limits"].items() if limit is not None} == limits.given()


def test_a_job_has_the_safety_policy_of_its_key_or_of_the_installation(closed: Stack) -> None:
    policies: list[SafetyPolicy | None] = ["refuse", "flag", None]
    for policy in policies:
        headers = bearer(closed, "submit", safety=policy, tenant="filtered")
        job = closed.client.post("/v1/style-transfers", json=FAST, headers=headers).json()
        assert closed.jobs.get(job["id"]).safety == (policy or "off")


def test_readiness_names_workers_without_the_safety_filter(api_alone: Stack) -> None:
    workers: Workers = {"w1": {"installed": ["open-nsfw"]}, "w2": {"installed": []}}
    keys = api_alone.jobs.keys
    [failing] = _safety("flag", keys, workers)
    assert failing.check == "safety" and "on w2: run `python -m models.fetch open-nsfw`" in failing.message
    assert [*_safety("off", keys, workers), *_safety("refuse", keys, {"w1": workers["w1"]})] == []


def test_readiness_counts_the_policies_of_valid_keys(closed: Stack) -> None:
    workers: Workers = {"w1": {"installed": []}}
    keys = closed.jobs.keys
    for key in keys.all():
        keys.revoke(key.id) if key.safety else None
    assert [*_safety("off", keys, workers)] == []
    key, _ = keys.create("filtered", scopes=["submit"], safety="refuse")
    [failing] = _safety("off", keys, workers)
    assert failing.message.startswith(f"`safety` of the API key {key.id} is refuse, and the model")


def test_limits_of_a_key_name_themselves(closed: Stack) -> None:
    headers = bearer(closed, "submit", limits=Limits(pixels=64**2, queued_jobs=1, priority=0), tenant="limited")
    post = partial(closed.client.post, "/v1/style-transfers", headers=headers)
    refused = post(json=FAST | {"size": 65}).json()["error"]
    assert refused["code"] == "limit_exceeded" and refused["details"]["limit"] == "pixels"
    cards = [asdict(catalogue.card(name)) for name in ("realesr-animevideov3", "stable-diffusion-avatars")]
    closed.jobs.heartbeats.beat("up@test", {"queues": ["gpu"], "cards": cards, "installed": []})
    body = {"mode": "upscale", "model": "realesr-animevideov3", "images": [AVATAR], "scale": 2}
    larger = closed.client.post("/v1/generations", json=body, headers=headers).json()["error"]
    assert larger["details"] == {"field": "images", "limit": "pixels", "allowed": 64**2}
    assert "the request has 16384" in larger["message"]
    body = {"mode": "inpaint", "model": "stable-diffusion-avatars", "prompt": "a hat", "image": AVATAR}
    wider = closed.client.post("/v1/generations", json=body | {"expand": {"left": 16}}, headers=headers).json()["error"]
    assert wider["details"] == {"field": "image", "limit": "pixels", "allowed": 64**2}
    assert post(json=FAST | {"priority": 1}).json()["error"]["details"]["limit"] == "priority"
    assert post(json=FAST).status_code == 202
    full = post(json=FAST)
    assert full.status_code == 429 and full.headers["Retry-After"]
    assert full.json()["error"]["details"] == {"limit": "queued_jobs", "allowed": 1}
