"""What the API makes of a generation, with the cards of workers in Redis and no worker at all."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.generations import EXAMPLES, SMILEY, WINK
from jobs.requests.architectures import ALL_MODES
from jobs.store.records import Ending, NewJob
from tests.api import cards
from tests.api.cards import HAT, HATTED, accepted, card, post
from tests.api.conftest import data_url, image_file
from tests.stack import Stack

stack, known = cards.stack, cards.known  # fixtures


def test_before_any_worker_has_reported(stack: Stack) -> None:
    answer = post(stack, model="vae-2")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")
    assert answer.headers["retry-after"]
    named = {"prompt": "a face", "model": "stable-diffusion-avatars"}
    answer = stack.client.post("/openai/v1/images/generations", json=named)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")


@pytest.mark.parametrize(
    ("body", "filled", "queue"),
    [
        ({"model": "vae-2"}, {"mode": "sample", "n": 4, "seeds": None, "scheduler": None}, "fast"),
        ({"model": "gan-8", "seeds": [3, 1]}, {"n": None, "seeds": [3, 1]}, "fast"),
        (
            {"model": "ddpm-small", "n": 2},
            {"n": 2, "num_inference_steps": 50, "scheduler": "ddim"},
            "gpu",
        ),
        ({"model": "ddpm-small", "scheduler": "ddpm"}, {"num_inference_steps": 50, "scheduler": "ddpm"}, "gpu"),
        (
            {"model": "ddpm-small", "mode": "interpolate", "between": [1, 2]},
            {"num_inference_steps": 50, "scheduler": "ddim", "steps": 8},
            "gpu",
        ),
        ({"model": "ddpm-small", "mode": "denoise-steps"}, {"num_inference_steps": 50, "shown": 8}, "gpu"),
        ({"model": "vae-2", "mode": "traverse"}, {"start": "mean", "dimensions": None, "extent": 2.5}, "fast"),
        (
            {"model": "dcgan-faces", "mode": "arithmetic", "terms": [HAT]},
            {
                "terms": [{**HAT, "weight": 1.0, "without": []}],
                **{"n": 8, "averaged": 64, "classifier": "classifier-faces"},
            },
            "fast",
        ),
        (
            {"model": "vae-2", "mode": "arithmetic", "terms": [{"sign": "-", "z": [1, 2]}]},
            {"terms": [{"sign": "-", "weight": 1.0, "z": [1.0, 2.0]}], "n": None, "classifier": None},
            "fast",
        ),
        (
            {"model": "sd-faces", **HATTED},
            {"width": 64, "height": 64, "num_inference_steps": 25, "guidance_scale": 4.0, "scheduler": "ddim"},
            "gpu",
        ),
        (
            {"model": "sd-faces", **HATTED, "prompt": "a <lora:ink:.8> hat", "loras": [{"model": "chalk"}]},
            {"prompt": "a hat", "loras": [{"model": "chalk", "scale": 1.0}, {"model": "ink", "scale": 0.8}]},
            "gpu",
        ),
        ({"model": "turbo", **HATTED}, {"width": 512, "num_inference_steps": 1, "scheduler": None}, "gpu"),
    ],
)
def test_what_is_resolved_and_where_it_is_queued(
    known: Stack, body: dict[str, Any], filled: dict[str, Any], queue: str
) -> None:
    answer = post(known, **body)
    params = accepted(answer)
    assert {name: params[name] for name in filled} == filled
    assert isinstance(params["seed"], int)
    assert known.jobs.get(answer.json()["id"]).queue == queue


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"model": "vae-faces", "mode": "reconstruct", "images": [SMILEY, WINK]}, lambda p: p["images"]),
        ({"model": "cyclegan-hats", "mode": "translate", "images": [SMILEY]}, lambda p: p["images"]),
        ({"model": "vae-faces", "mode": "interpolate", "between": [SMILEY, 3]}, lambda p: p["between"][:1]),
        ({"model": "dcgan-faces", "mode": "traverse", "start": WINK}, lambda p: [p["start"]]),
        (
            {"model": "vae-2", "mode": "arithmetic", "terms": [{"sign": "+", "image": WINK}]},
            lambda p: [p["terms"][0]["image"]],
        ),
        (
            {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask": WINK},
            lambda p: [p["image"], p["mask"]],
        ),
    ],
)
def test_images_become_uploads(known: Stack, body: dict[str, Any], ids: Any) -> None:
    found = ids(accepted(post(known, **body)))
    assert found and all(known.client.get(f"/v1/images/{image}").status_code == 200 for image in found)


HOLE = (20, 10, 44, 30)  # of 64 x 64, what the masks below mark


def masked(kind: str) -> bytes:
    """A mask with a marked box: by a transparent hole, a brush on a layer, gray JPEG, or black and white."""
    photo = Image.open(BytesIO(image_file(size=(64, 64)))).convert("RGBA")
    images = {"hole": photo, "brush": Image.new("RGBA", (64, 64)), "grey": Image.new("L", (64, 64), 10)}
    paints: dict[str, Any] = {"hole": (0, 0, 0, 0), "brush": (255, 0, 0, 255), "grey": 245}
    image = images.get(kind, Image.new("RGB", (64, 64)))
    image.paste(paints.get(kind, (255, 255, 255)), HOLE)
    file = BytesIO()
    image.save(file, "JPEG" if kind == "grey" else "PNG")
    return file.getvalue()


@pytest.mark.parametrize("by", ["upload", "data"])
@pytest.mark.parametrize("kind", ["hole", "brush", "grey", "black and white"])
def test_a_mask_is_stored_as_it_was_understood(known: Stack, kind: str, by: str) -> None:
    uploaded = known.client.post("/v1/images", files={"file": masked(kind)}).json()["id"]
    mask = uploaded if by == "upload" else data_url(masked(kind))
    params = accepted(post(known, model="sd-faces", mode="inpaint", prompt="a hat", image=SMILEY, mask=mask))
    content = known.client.get(f"/v1/images/{params['mask']}/content").content
    found = np.asarray(Image.open(BytesIO(content)))
    expected = np.zeros((64, 64, 3), np.uint8)
    expected[HOLE[1] : HOLE[3], HOLE[0] : HOLE[2]] = 255
    assert (found != expected).mean() < (0.02 if kind == "grey" else 1e-9)
    assert (params["mask"] == uploaded) == (kind == "black and white")
    assert params["mask_feather"] == 4


def test_jobs_alike_share_what_lets_them_run_together(known: Stack) -> None:
    others: list[dict[str, Any]] = [{}, {"seed": 3}, {"guidance_scale": 2}]
    answers = [post(known, model="sd-faces", **HATTED, **more) for more in others]
    answers.append(post(known, model="vae-2", mode="traverse"))
    jobs = [answer.json()["id"] for answer in answers]
    again = known.client.post(f"/v1/jobs/{jobs[0]}/cancel"), known.client.post(f"/v1/jobs/{jobs[0]}/retry")
    jobs.append(again[1].json()["id"])
    compat = [known.jobs.client.hget(f"atelier:job:{job}", "compat") for job in jobs]
    assert compat[0] == compat[1] == compat[4] != compat[2]
    assert compat[0] and compat[2] and compat[3] == ""


def test_a_model_that_was_trained_here(known: Stack) -> None:
    jobs, trained = known.jobs, card("vae-2") | {"id": "vae-0123456789ab"}
    jobs.create(NewJob(kind="training", queue="train", params={}))
    [record] = jobs.claim("train", worker="away@test")
    jobs.finish(record.id, record.fence, Ending("succeeded", {}, model=trained))
    assert accepted(post(known, model=trained["id"], mode="traverse"))["model"] == trained["id"]


def test_the_same_key_gives_the_same_job(known: Stack) -> None:
    headers = {"Idempotency-Key": "twice"}
    first, second = (post(known, headers, model="vae-2") for _ in range(2))
    assert first.json()["id"] == second.json()["id"]


def test_jobs_are_listed_by_their_kind(known: Stack) -> None:
    job = post(known, model="vae-2").json()
    found = known.client.get("/v1/jobs", params={"kind": "generation", "limit": 1}).json()["jobs"]
    assert [one["id"] for one in found] == [job["id"]]


def test_control_and_image_prompt_name_images(known: Stack) -> None:
    control = {"model": "edges", "image": SMILEY, "preprocess": "canny", "low_threshold": 50, "end": 0.8}
    asked: dict[str, Any] = {"control": control, "image_prompt": {"model": "adapter", "image": SMILEY}}
    params = accepted(post(known, model="sd-faces", **HATTED, **asked))
    image = params["control"].pop("image")
    assert image.startswith("img_") and params["image_prompt"]["image"] == image
    filled = {"preprocess": "canny", "low_threshold": 50, "high_threshold": None, "scale": 1.0, "start": 0.0}
    assert params["control"] == {"model": "edges", "end": 0.8, **filled}


def test_textual_inversions_are_named_by_their_tokens(known: Stack) -> None:
    asked: dict[str, Any] = {"model": "sd-faces", **HATTED, "textual_inversions": ["cat"]}
    assert accepted(post(known, **asked, negative_prompt="(<CAT>:1.2)"))["textual_inversions"] == ["cat"]


def test_loras_of_the_models_base(known: Stack) -> None:
    loras = [{"model": "ink", "scale": 0.5}, {"model": "chalk"}]
    params = accepted(post(known, model="sd-faces", **HATTED, loras=loras))
    assert params["loras"] == [{"model": "ink", "scale": 0.5}, {"model": "chalk", "scale": 1.0}]


def test_an_example_for_every_mode() -> None:
    modes = {example["value"].get("mode", "sample") for example in EXAMPLES.values()}
    assert modes == set(ALL_MODES)
