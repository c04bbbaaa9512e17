"""Models of one's own over HTTP: added from a URL and an upload, used, and removed, while a real worker runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from api.models import ADDED, OWN_WEIGHTS
from tests.file_server import Files, serving
from tests.stack import Stack, wait_until

QUERY = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
LORA = save({f"{QUERY}.lora_A.weight": torch.ones(4, 128), f"{QUERY}.lora_B.weight": torch.ones(192, 4)})
LARGE = save({f"{QUERY}.lora_A.weight": torch.ones(400_000, 128)})  # 200 MB, which takes two seconds
INK: dict[str, Any] = ADDED["lora"]["value"]
HAT = {"mode": "text-to-image", "model": "stable-diffusion-avatars", "prompt": "a hat", "seed": 1}
HAT |= {"num_inference_steps": 2, "loras": [{"model": "ink"}]}


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    with serving({"ink.safetensors": LORA, "large.safetensors": LARGE}) as served:
        yield served


@pytest.fixture(scope="module")
def adding(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("adding")
    authority = files.authority.cert_pem.bytes().decode()
    made = Stack(folder, ATELIER_TEST_FILES=f"{files.port},{authority}", ATELIER_WEIGHTS_DIR=str(folder / "weights"))
    made.start_valkey()
    made.start_api("api.main:app")
    made.start_upkeep()
    made.start_worker(app="tests.api.adding")
    yield made
    made.stop()


def post(stack: Stack, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = stack.client.post(path, json=body)
    assert answer.status_code == 202, answer.text
    return stack.finished(answer.json()["id"], 120)


def error(stack: Stack, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str, str]:
    answer = stack.client.request(method, path, json=body)
    found = answer.json()["error"]
    return answer.status_code, found["code"], found["message"]


@pytest.mark.slow
def test_an_uploaded_lora_is_added_used_and_removed(adding: Stack) -> None:
    uploaded = adding.client.post("/v1/archives", files={"file": LORA}).json()
    assert uploaded["weights"] is True and uploaded["id"] != OWN_WEIGHTS
    plain = post(adding, "/v1/generations", HAT | {"loras": []})
    job = post(adding, "/v1/models", INK | {"archive": uploaded["id"]})
    assert (job["kind"], job["status"], job["metrics"]["model"]) == ("model", "succeeded", "ink")
    model = adding.client.get("/v1/models/ink").json()
    assert (model["added_by"], model["trained_by"], model["shared"]) == (job["id"], None, True)
    assert model["installed_on"] == ["w1@test"] and model["source"] == {"kind": "added", "archive": uploaded["id"]}
    [card, file] = adding.client.get("/v1/models/ink/files").json()["files"]
    assert adding.client.get(file["url"]).content == LORA and card["name"] == "card.json"
    inked = post(adding, "/v1/generations", HAT)
    assert inked["error"] is None and inked["outputs"][0]["sha256"] != plain["outputs"][0]["sha256"]
    assert error(adding, "POST", "/v1/models", INK | {"archive": uploaded["id"]})[:2] == (409, "model_exists")

    adding.kill("w1")
    waiting = adding.client.post("/v1/generations", json=HAT).json()["id"]
    status, code, message = error(adding, "DELETE", "/v1/models/ink")
    assert (status, code) == (409, "model_in_use") and waiting in message
    adding.start_worker(app="tests.api.adding")
    assert adding.finished(waiting)["status"] == "succeeded"
    assert adding.client.delete("/v1/models/ink").status_code == 204
    assert error(adding, "GET", "/v1/models/ink")[1] == "model_not_found"
    assert error(adding, "POST", "/v1/generations", HAT)[:2] == (422, "unknown_model")
    copies = Path(adding.env["ATELIER_WEIGHTS_DIR"]) / "trained"
    wait_until(lambda: not list(copies.iterdir()), 20, "the removal of the worker's copy")


@pytest.mark.slow
def test_a_download_reports_bytes_is_canceled_and_goes_on(adding: Stack, files: Files) -> None:
    files.slow.add("large.safetensors")
    body = {name: value for name, value in INK.items() if name != "archive"} | {"id": "large"}
    first = adding.client.post("/v1/models", json=body | {"url": files.url("large.safetensors")}).json()["id"]
    wait_until(lambda: (adding.jobs.get(first).progress or {"step": 0})["step"], 20, "the first bytes")
    progress = adding.job(first)["progress"]
    assert 4 << 20 <= progress["step"] <= progress["total"] == len(LARGE)
    assert progress["message"].endswith(" of 204.8 MB")
    adding.client.post(f"/v1/jobs/{first}/cancel")
    assert adding.finished(first)["status"] == "canceled"
    files.slow.clear()
    again = adding.client.post(f"/v1/jobs/{first}/retry").json()["id"]
    assert adding.finished(again)["error"] is None
    assert files.asked[-1] != "large.safetensors from 0"
    assert adding.client.delete("/v1/models/large").status_code == 204


MANY: dict[str, Any] = {"archive": None, "repository": "me/mine", "revision": "0" * 40}
MANY |= {"task": "text-to-image", "image_size": 64, "files": {f"{n}.json": "a.json" for n in range(200)}}
REFUSED: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "a path": ({"path": "/etc/a.safetensors"}, 422, "invalid_request", "`path` is not a field of this request"),
    "no source": ({"archive": None}, 422, "invalid_request", "repository: or url or archive is needed"),
    "two sources": ({"url": "https://a.example/a"}, 422, "invalid_request", "`archive` must be left out"),
    "a private url": (
        {"archive": None, "url": "https://127.0.0.1/a"},
        422,
        "invalid_request",
        "`url` must be a public",
    ),
    "an id": ({"id": "vgg16"}, 409, "model_exists", "id: There is a model 'vgg16' already"),
    "a base": ({"base": "sd-9"}, 422, "unknown_base", "base: There is no base 'sd-9'; there are flux"),
    "no upload": ({}, 404, "archive_not_found", "archive: No archive"),
    "a task": ({"task": "video"}, 422, "invalid_request", "`task` must be 'text-to-image'"),
    "no size": (
        {"task": "text-to-image", "base": "sdxl"},
        *(422, "invalid_request", "`image_size` is needed for task 'text-to-image'"),
    ),
    "many files": (MANY, 422, "invalid_request", "An object of the"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_card_that_cannot_be_used_is_refused_by_field_and_rule(adding: Stack, name: str) -> None:
    changes, status, code, message = REFUSED[name]
    found = error(adding, "POST", "/v1/models", INK | changes)
    assert found[:2] == (status, code) and message in found[2], found
