"""The API from a user's side: real Valkey, a real worker and real images."""

import hashlib
import io
import re
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from jobs.store.records import QUEUES, NewJob
from models.catalogue import cards
from tests.api.conftest import FAST, WAIT, image_file
from tests.api.probes import running
from tests.stack import Stack, wait_until


def upload(stack: Stack, data: bytes) -> dict[str, Any]:
    answer = stack.client.post("/v1/images", files={"file": ("photo", data)})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


class TestImages:
    def test_upload_facts_and_content(self, stack: Stack) -> None:
        answer = stack.client.post("/v1/images", files={"file": ("photo", image_file("JPEG", size=(40, 30)))})
        assert answer.status_code == 201
        image = answer.json()
        assert (image["width"], image["height"], image["source_format"]) == (40, 30, "jpeg")
        assert answer.headers["location"] == f"/v1/images/{image['id']}"
        facts = stack.client.get(answer.headers["location"]).json()
        assert facts == image
        content = stack.client.get(facts["url"])
        assert content.headers["content-type"] == "image/png"
        assert len(content.content) == facts["size_bytes"]
        assert facts["id"] == "img_" + hashlib.sha256(content.content).hexdigest()
        assert Image.open(io.BytesIO(content.content)).size == (40, 30)

    def test_same_image_same_id(self, stack: Stack) -> None:
        assert len({upload(stack, image_file(kind))["id"] for kind in ("PNG", "BMP", "TIFF", "PNG")}) == 1

    def test_orientation_is_applied(self, stack: Stack) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera lay on its side
        image = upload(stack, image_file("PNG", size=(48, 32), exif=exif))
        assert (image["width"], image["height"]) == (32, 48)
        upright = Image.open(io.BytesIO(image_file("PNG", size=(48, 32)))).transpose(Image.Transpose.ROTATE_270)
        stored = Image.open(io.BytesIO(stack.client.get(image["url"]).content))
        assert np.array_equal(np.asarray(stored), np.asarray(upright))

    def test_animation_gives_its_first_frame(self, stack: Stack) -> None:
        red, blue = (Image.new("RGB", (32, 32), color) for color in ("red", "blue"))
        file = io.BytesIO()
        red.save(file, "GIF", save_all=True, append_images=[blue])
        content = stack.client.get(upload(stack, file.getvalue())["url"]).content
        assert Image.open(io.BytesIO(content)).getpixel((5, 5)) == (255, 0, 0)

    def test_not_modified(self, stack: Stack) -> None:
        url = upload(stack, image_file())["url"]
        etag = stack.client.get(url).headers["etag"]
        assert etag == f'"{url.split("/")[3].removeprefix("img_")}"'
        for value in (etag, "*", f'"other", {etag}', f"W/{etag}"):
            answer = stack.client.get(url, headers={"If-None-Match": value})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert stack.client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200

    def test_ranges(self, stack: Stack) -> None:
        url = upload(stack, image_file())["url"]
        whole = stack.client.get(url).content
        size = len(whole)
        for asked, start, stop in (("0-9", 0, 10), ("10-", 10, size), ("-7", size - 7, size), ("0-999999", 0, size)):
            answer = stack.client.get(url, headers={"Range": f"bytes={asked}"})
            assert (answer.status_code, answer.content) == (206, whole[start:stop])
            assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        for asked in (f"{size}-", "9-2", "-0"):
            answer = stack.client.get(url, headers={"Range": f"bytes={asked}"})
            assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
            assert answer.json()["error"]["code"] == "range_not_satisfiable"
        for ignored in ("bytes=-", "lines=1-2", "bytes=0-1,3-4", "bytes=a-b"):
            answer = stack.client.get(url, headers={"Range": ignored})
            assert (answer.status_code, answer.content) == (200, whole)

    def test_delete(self, stack: Stack) -> None:
        data = image_file("PNG", size=(33, 31), seed=5)
        image = upload(stack, data)
        job_id = stack.jobs.create(NewJob(kind="probe", queue="nobody", params={}, images=[image["id"][4:]]))[0]
        assert stack.client.delete(f"/v1/images/{image['id']}").status_code == 204
        for answer in (
            stack.client.delete(f"/v1/images/{image['id']}"),
            stack.client.get(f"/v1/images/{image['id']}"),
            stack.client.get(image["url"]),
            stack.client.post("/v1/style-transfers", json=FAST | {"content": image["id"]}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "image_not_found")
        stored = stack.folder / "objects" / image["id"][4:]
        time.sleep(3 * float(stack.env["ATELIER_SWEEP_S"]))
        assert stored.exists(), "a job names it"
        stack.jobs.cancel(job_id)
        stack.jobs.delete(job_id)
        wait_until(lambda: not stored.exists(), 10, "its bytes to go")
        assert upload(stack, data)["id"] == image["id"]

    def test_damaged_bytes_are_not_served(self, stack: Stack) -> None:
        data = image_file("PNG", size=(34, 31), seed=6)
        image = upload(stack, data)
        stored = stack.folder / "objects" / image["id"][4:]
        stored.write_bytes(stored.read_bytes()[:-9])
        for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": '"other"'}):
            answer = stack.client.get(image["url"], headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "object_damaged")
            assert "etag" not in answer.headers and "again" in answer.json()["error"]["message"]
        job = stack.client.post("/v1/style-transfers", json=FAST | {"content": image["id"]}, headers=WAIT).json()
        assert (job["status"], job["error"]["code"]) == ("failed", "object_damaged")
        stack.client.delete(f"/v1/jobs/{job['id']}")
        upload(stack, data)
        assert stack.client.get(image["url"]).status_code == 200, "an upload of the same image repairs it"


class TestSubmit:
    def test_202_with_location(self, stack: Stack) -> None:
        answer = stack.client.post("/v1/style-transfers", json=FAST | {"seed": 5})
        assert answer.status_code == 202
        job = answer.json()
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["urls"]["self"]
        assert "preference-applied" not in answer.headers
        ended = stack.finished(job["id"])
        assert ended["status"] == "succeeded"
        output = ended["outputs"][0]
        content = stack.client.get(output["url"])
        assert content.headers["etag"] == f'"{output["sha256"]}"' == f'"{hashlib.sha256(content.content).hexdigest()}"'
        assert Image.open(io.BytesIO(content.content)).size == (output["width"], output["height"]) == (64, 43)
        assert stack.client.get(output["url"], headers={"If-None-Match": content.headers["etag"]}).status_code == 304
        assert stack.client.get(output["url"], headers={"Range": "bytes=0-7"}).content == b"\x89PNG\r\n\x1a\n"
        missing = stack.client.get(f"{job['urls']['self']}/outputs/1")
        assert missing.json()["error"]["message"] == "The job has 1 outputs; its status is succeeded."

    def test_wait_for_the_end(self, stack: Stack) -> None:
        answer = stack.client.post("/v1/probes", json={"steps": 2}, headers={"Prefer": "respond-async, wait=20"})
        assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=20")
        assert answer.json()["status"] == "succeeded"

    def test_wait_that_is_too_short(self, stack: Stack) -> None:
        started = time.monotonic()
        answer = stack.client.post("/v1/probes", json={"steps": 100, "step_s": 0.1}, headers={"Prefer": "wait=1"})
        assert 0.9 < time.monotonic() - started < 5
        assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")
        assert answer.json()["finished_at"] is None
        stack.client.post(answer.json()["urls"]["cancel"])
        stack.finished(answer.json()["id"])

    def test_seed_is_chosen_and_shown(self, stack: Stack) -> None:
        seeds = {stack.submit()["params"]["seed"] for _ in range(3)}
        assert len(seeds) == 3
        assert all(0 <= seed < 2**32 for seed in seeds)

    def test_idempotency_key(self, stack: Stack) -> None:
        key = {"Idempotency-Key": "k" * 200}
        first = stack.client.post("/v1/style-transfers", json=FAST, headers=key)
        again = stack.client.post("/v1/style-transfers", json=dict(reversed(FAST.items())), headers=key | WAIT)
        assert first.json()["id"] == again.json()["id"]
        assert again.status_code == 200
        other = stack.client.post("/v1/style-transfers", json=FAST | {"size": 65}, headers=key)
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reuse")

    def test_expired_before_its_turn(self, stack: Stack) -> None:
        slow = running(stack)
        job = stack.submit(expires_in=1)
        assert job["queue_position"] == 0
        assert stack.finished(job["id"])["status"] == "expired"
        stack.client.post(f"/v1/jobs/{slow}/cancel")
        stack.finished(slow)


class TestService:
    @pytest.mark.parametrize("path", ["/healthz", "/v1/jobs", "/nowhere", "/metrics", "/docs"])
    def test_request_id_is_echoed_or_made(self, stack: Stack, path: str) -> None:
        assert stack.client.get(path, headers={"X-Request-ID": "my-id_1.x"}).headers["x-request-id"] == "my-id_1.x"
        made = {stack.client.get(path).headers["x-request-id"] for _ in range(2)}
        assert len(made) == 2

    def test_ready(self, stack: Stack) -> None:
        answer = stack.client.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "ready": True,
                "redis": True,
                "storage": True,
                "upkeep": True,
                "queues": dict.fromkeys(QUEUES, 1),
                "workers": ["w1@test"],
                "failing": [],
            },
        )

    def test_models(self, stack: Stack) -> None:
        models = {model["id"]: model for model in stack.client.get("/v1/models").json()["models"]}
        # Tests before this one may have trained models on the shared stack.
        assert {id for id, model in models.items() if not model["trained_by"]} == set(cards())
        assert models["vgg16"]["installed_on"] == models["vae-smileys"]["installed_on"] == ["w1@test"]
        assert models["vgg16"]["fetch_command"] == "python -m models.fetch vgg16"
        assert models["vae-smileys"]["fetch_command"] is None
        assert stack.client.get("/v1/models/vgg16").json() == models["vgg16"]
        dims = {name: models[name]["dim"] for name in ("vgg16", "vae-smileys", "kandinsky-2.2")}
        assert dims == {"vgg16": None, "vae-smileys": 16, "kandinsky-2.2": 1280}
        for name, card in cards().items():
            kept = {part: models[name][part] for part in ("architecture", "training", "quality")}
            assert kept == {part: card.published()[part] for part in kept}


def test_while_things_are_away(tmp_path: Path) -> None:
    """Without worker, storage or Redis, each answer says so and names when to retry."""
    nobody = "http://127.0.0.1:9"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    away = {"ATELIER_STORAGE_URL": "s3://atelier", "ATELIER_STORAGE_ENDPOINT": nobody, "ATELIER_STORAGE_RETRY_S": "0.5"}
    stack = Stack(tmp_path, **away, **keys)
    try:
        stack.start_valkey()
        stack.start_api()
        answer = stack.client.get("/readyz")
        body = answer.json()
        failing = [(one["check"], one["message"]) for one in body.pop("failing")]
        state = {
            "ready": False,
            "redis": True,
            "storage": False,
            "upkeep": False,
            "queues": dict.fromkeys(QUEUES, 0),
            "workers": [],
        }
        assert (answer.status_code, body, answer.headers["retry-after"]) == (503, state, "2")
        assert [check for check, _ in failing] == ["upkeep", *["workers"] * len(QUEUES), "storage"]
        assert failing[1][1] == "No worker serves the queue 'fast'."
        assert stack.client.get("/v1/models").json() == {"models": []}
        refuse(stack.client.post("/v1/images", files={"file": ("a", image_file())}), "storage_unavailable")
        assert not list(stack.redis.scan_iter("atelier:image:*"))

        job_id = stack.submit()["id"]
        stack.kill("valkey")
        answer = stack.client.get("/readyz")
        assert (answer.status_code, answer.json()["redis"]) == (503, False)
        assert stack.client.get("/healthz").status_code == 200
        assert "atelier_redis_up 0.0" in stack.client.get("/metrics").text
        for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/events", "/v1/jobs", "/v1/models"):
            refuse(stack.client.get(path), "redis_unavailable")
        refuse(stack.client.post("/v1/probes", json={}), "redis_unavailable")
        refuse(stack.client.post("/v1/probes", json={}, headers={"Idempotency-Key": "a"}), "redis_unavailable")

        stack.start_valkey()
        assert stack.job(job_id)["status"] == "queued"
    finally:
        stack.stop()


def refuse(answer: httpx.Response, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
    assert int(answer.headers["retry-after"]) >= 1
    assert "127.0.0.1" not in answer.text


def test_full_queue(tmp_path: Path) -> None:
    stack = Stack(tmp_path, ATELIER_MAX_QUEUE="2")
    try:
        stack.start_valkey()
        stack.start_api()
        answers = [stack.client.post("/v1/probes", json={}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
        assert answers[-1].json()["error"]["code"] == "queue_full"
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert stack.client.post("/v1/probes", json={"queue": "gpu"}).status_code == 202
    finally:
        stack.stop()


def test_the_documentation_page_needs_no_other_host(stack: Stack) -> None:
    page = stack.client.get("/docs").text
    assert "://" not in page
    for asset in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert stack.client.get(asset).status_code == 200, asset
