"""What the API makes of a generation, with the cards of workers in Redis and no worker at all."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from api.generations import EXAMPLES, SMILEY, WINK
from jobs.requests.architectures import ALL_MODES
from jobs.store.records import NewJob
from tests.api.conftest import data_url, field_and_rule, image_file, stored
from tests.stack import Stack

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vae-2": {"name": "mlp-vae", "image_size": 28, "channels": 1, "latent_dim": 2},
    "vae-faces": {"name": "conv-vae", "image_size": 64, "channels": 3, "latent_dim": 32},
    "gan-8": {"name": "mlp-gan", "image_size": 16, "channels": 1, "latent_dim": 8},
    "dcgan-faces": {"name": "dcgan", "image_size": 64, "channels": 3, "latent_dim": 64},
    "ddpm-small": {"name": "ddpm", "image_size": 16, "channels": 1},
    "sd-faces": {"name": "stable-diffusion", "image_size": 64},
    "turbo": {"name": "diffusers", "image_size": 512, "num_inference_steps": 1, "guided": False, "schedulers": []},
    "cyclegan-hats": {"name": "cyclegan", "image_size": 64, "channels": 3, "kinds": ["no hat", "hat"]},
    "classifier-faces": {"name": "classifier", "channels": 3, "questions": [["no hat", "hat"], ["no red", "red"]]},
    "classifier-other": {"name": "classifier", "channels": 3, "questions": [["no cat", "cat"]]},
    "gan-mixed": {"name": "mlp-gan", "image_size": 28, "channels": 1, "latent_dim": 4},
    "dcgan-mixed": {"name": "dcgan", "image_size": 64, "channels": 3, "latent_dim": 4},
    "classifier-mixed": {"name": "classifier", "channels": 3, "questions": [["no hat", "hat"]]},
    "classifier-small-mixed": {"name": "classifier", "channels": 3, "questions": [["no hat", "hat"]]},
    "vgg16": {},
    "ink": {"name": "lora", "base": "sd-faces"},
    "chalk": {"name": "lora", "base": "sd-faces"},
    "sketch": {"name": "lora", "base": "sdxl"},
}
USABLE = [
    *("cyclegan-hats", "dcgan-faces", "dcgan-mixed", "ddpm-small", "gan-8", "gan-mixed"),
    *("sd-faces", "turbo", "vae-2", "vae-faces"),
]
HATTED: dict[str, Any] = {"mode": "text-to-image", "prompt": "a man with a hat"}
HAT = {"sign": "+", "with": ["hat"]}


def card(model_id: str) -> dict[str, Any]:
    sorts = {"classifier": "classification", "lora": "lora"}
    return {
        "id": model_id,
        "task": sorts.get(ARCHITECTURES[model_id].get("name", ""), "generation"),
        "title": model_id,
        "description": "",
        "license": "MIT",
        "source": {"kind": "trained", "data": model_id.rpartition("-")[2]},
        "files": {"model.safetensors": "0" * 64},
        "fetch_command": None,
        "architecture": ARCHITECTURES[model_id],
        "training": {"image_size": 32} if "small" in model_id else {},
    }


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Valkey and the API."""
    made = Stack(tmp_path_factory.mktemp("generations"))
    made.start_valkey()
    made.start_api("api.main:app")
    yield made
    made.stop()


@pytest.fixture
def known(stack: Stack) -> Stack:
    """Reports the facts of a worker."""
    facts = {"queues": ["fast", "gpu"], "cards": [card(name) for name in ARCHITECTURES], "installed": []}
    stack.jobs.heartbeats.beat("away@test", facts)
    return stack


def post(stack: Stack, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return stack.client.post("/v1/generations", json=body, headers=headers)


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    return dict(answer.json()["params"])


def test_before_any_worker_has_reported(stack: Stack) -> None:
    answer = post(stack, model="vae-2")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")
    assert answer.headers["retry-after"]


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
            {"terms": [{**HAT, "without": []}], "n": 8, "averaged": 64, "classifier": "classifier-faces"},
            "fast",
        ),
        (
            {"model": "vae-2", "mode": "arithmetic", "terms": [{"sign": "-", "z": [1, 2]}]},
            {"terms": [{"sign": "-", "z": [1.0, 2.0]}], "n": None, "classifier": None},
            "fast",
        ),
        (
            {"model": "sd-faces", **HATTED},
            {"width": 64, "height": 64, "num_inference_steps": 25, "guidance_scale": 4.0, "scheduler": "ddim"},
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
    answers.append(post(known, model="vae-2"))
    jobs = [answer.json()["id"] for answer in answers]
    again = known.client.post(f"/v1/jobs/{jobs[0]}/cancel"), known.client.post(f"/v1/jobs/{jobs[0]}/retry")
    jobs.append(again[1].json()["id"])
    compat = [known.jobs.client.hget(f"atelier:job:{job}", "compat") for job in jobs]
    assert compat[0] == compat[1] == compat[4] != compat[2]
    assert compat[0] and compat[2] and compat[3] == ""


def drawing(*boxes: tuple[tuple[int, int, int, int], tuple[int, int, int, int]]) -> bytes:
    """64 x 64 pixels of black with boxes of other colors."""
    image = Image.new("RGBA", (64, 64), "black")
    for box, color in boxes:
        image.paste(color, box)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


BLACK, TOP = drawing(), drawing(((0, 0, 64, 16), (255, 255, 255, 255)))
UNCLEAR = drawing(((8, 8, 24, 24), (255, 255, 255, 255)), ((40, 40, 60, 60), (0, 0, 0, 0)))
SEEDS = {"model": "gan-8", "mode": "interpolate"}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown model": (
        {"model": "vae-99"},
        "unknown_model",
        f"model: No model that generates is called 'vae-99'; there are {', '.join(USABLE)}.",
    ),
    "model that generates nothing": (
        {"model": "vgg16"},
        "unknown_model",
        f"model: No model that generates is called 'vgg16'; there are {', '.join(USABLE)}.",
    ),
    "mode of another architecture": (
        {"model": "vae-2", "mode": "translate", "images": [SMILEY]},
        "mode_not_supported",
        "mode: Model vae-2 cannot do 'translate'; cyclegan-hats can.",
    ),
    "mode a GAN of perceptrons lacks": (
        {"model": "gan-8", "mode": "reconstruct", "images": [SMILEY]},
        "mode_not_supported",
        "mode: Model gan-8 cannot do 'reconstruct'; dcgan-faces, dcgan-mixed, vae-2, vae-faces can.",
    ),
    "image without an encoder": (
        SEEDS | {"between": [1, SMILEY]},
        "model_mismatch",
        "between.1: Model gan-8 has no encoder: it takes seeds, not images.",
    ),
    "steps of no diffusion": (
        {"model": "vae-2", "num_inference_steps": 5},
        "model_mismatch",
        "num_inference_steps: Model vae-2 is not a diffusion model and does not use it.",
    ),
    "dimension past the last": (
        {"model": "vae-2", "mode": "traverse", "dimensions": [2]},
        "model_mismatch",
        "dimensions.0: Model vae-2 has 2 dimensions, 0 to 1.",
    ),
    "short z": (
        {"model": "gan-8", "mode": "arithmetic", "terms": [{"sign": "+", "z": [1]}]},
        "model_mismatch",
        "terms.0.z: Model gan-8 has a z of 8 values, not 1.",
    ),
    "unknown attribute": (
        {"model": "dcgan-faces", "mode": "arithmetic", "terms": [HAT, {"sign": "-", "without": ["cat"]}]},
        "unknown_attribute",
        "terms.1.without: There is no attribute 'cat'; there are hat, red.",
    ),
    "no classifier": (
        {"model": "gan-8", "mode": "arithmetic", "terms": [HAT]},
        "model_mismatch",
        "terms.0: Model gan-8 has no classifier of its images, so attributes cannot be recognized.",
    ),
    "classifier of other images": (
        {"model": "dcgan-faces", "mode": "arithmetic", "terms": [HAT], "classifier": "classifier-other"},
        "unknown_model",
        "classifier: For dcgan-faces there are classifier-faces.",
    ),
    "classifier of images of other channels": (
        {"model": "gan-mixed", "mode": "arithmetic", "terms": [HAT], "classifier": "classifier-mixed"},
        "model_mismatch",
        "classifier: classifier-mixed was trained on images of 3 channels, and gan-mixed makes 28 x 28 pixels, "
        "1 channels; they must agree.",
    ),
    "classifier of images of another size": (
        {"model": "dcgan-mixed", "mode": "arithmetic", "terms": [HAT], "classifier": "classifier-small-mixed"},
        "model_mismatch",
        "classifier: classifier-small-mixed was trained on images of 32 x 32 pixels, 3 channels, and dcgan-mixed makes "
        "64 x 64 pixels, 3 channels; they must agree.",
    ),
    "no classifier of such images": (
        {"model": "gan-mixed", "mode": "arithmetic", "terms": [HAT]},
        "model_mismatch",
        "terms.0: Model gan-mixed has no classifier of its images, so attributes cannot be recognized.",
    ),
    "terms that cancel": (
        {
            "model": "dcgan-faces",
            "mode": "arithmetic",
            "terms": [HAT, {"sign": "+", "seed": 1}, {"sign": "-", "with": ["hat"]}, {"sign": "-", "seed": 1}],
        },
        "terms_cancel",
        "terms: Each is subtracted again, so nothing is left.",
    ),
    "damaged image among good ones": (
        {"model": "vae-faces", "mode": "reconstruct", "images": [SMILEY, data_url(image_file()[:-1000])]},
        "image_truncated",
        "images.1: The PNG file's image data is damaged or cut off.",
    ),
    "unknown mode": (
        {"model": "vae-2", "mode": "dream"},
        "invalid_request",
        "`mode` must be 'sample', 'reconstruct', 'interpolate', 'traverse', 'arithmetic', 'translate', "
        "'denoise-steps', 'text-to-image', 'image-to-image' or 'inpaint'.",
    ),
    "no prompt": (
        {"model": "sd-faces", "mode": "text-to-image"},
        "invalid_request",
        "`prompt` is required.",
    ),
    "width of no multiple of 8": (
        {"model": "sd-faces", **HATTED, "width": 60},
        "invalid_request",
        "`width` must be a multiple of 8.",
    ),
    "more pixels than the model makes": (
        {"model": "sd-faces", **HATTED, "height": 512},
        "model_mismatch",
        "height: Model sd-faces makes images of at most 256 pixels a side.",
    ),
    "guidance of a model without": (
        {"model": "turbo", **HATTED, "guidance_scale": 5},
        "model_mismatch",
        "guidance_scale: Model turbo works without guidance: 0 to 1 are allowed, and mean none.",
    ),
    "text for a model of none": (
        {"model": "vae-2", **HATTED},
        "mode_not_supported",
        "mode: Model vae-2 cannot do 'text-to-image'; sd-faces, turbo can.",
    ),
    "mask that marks nothing": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask": data_url(BLACK)},
        "empty_mask",
        "mask: Nothing of it is white: its luminance is at most 0 of 255, and 128 are needed. "
        "A mask is white on the part that counts.",
    ),
    "mask that marks what is cut off": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "width": 64, "height": 32}
        | {"image": SMILEY, "mask": data_url(TOP)},
        "empty_mask",
        "mask: Nothing is marked in its middle, which is cut out in the shape of 64 x 32.",
    ),
    "mask of transparent and white parts": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask": data_url(UNCLEAR)},
        "ambiguous_mask",
        "mask: It has transparent parts beside parts in black and white, or a border that is half transparent: "
        "which part changes is ambiguous. Send it without transparency.",
    ),
    "feather too wide": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask": WINK, "mask_feather": 65},
        "invalid_request",
        "`mask_feather` must be at most 64.",
    ),
    "mask of another size": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask": data_url(image_file())},
        "size_mismatch",
        "mask: The mask is 48 x 32; it must have its image's size, 64 x 64.",
    ),
    "no step left": (
        {"model": "sd-faces", "mode": "image-to-image", "prompt": "a hat", "image": SMILEY}
        | {"strength": 0.1, "num_inference_steps": 5},
        "too_few_steps",
        "strength: 0.1 leaves none of 5 steps; use more steps or a larger strength.",
    ),
    "no model": ({}, "invalid_request", "`model` is required."),
    "model like a path": (
        {"model": "../vae"},
        "invalid_request",
        "`model` must be the id of a model: 2 to 80 of the characters a-z, 0-9, . and -.",
    ),
    "field of another mode": (
        {"model": "vae-2", "images": [SMILEY]},
        "invalid_request",
        "`images` is not a field of this request, or the method or mode does not use it.",
    ),
    "n and seeds": (
        {"model": "vae-2", "n": 2, "seeds": [1, 2]},
        "invalid_request",
        "seeds: Give `n` or `seeds`, not both.",
    ),
    "65 images": ({"model": "vae-2", "n": 65}, "invalid_request", "`n` must be at most 64."),
    "stochastic interpolation": (
        {"model": "ddpm-small", "mode": "interpolate", "between": [1, 2], "scheduler": "ddpm"},
        "invalid_request",
        "`scheduler` must be 'ddim' or 'dpm-solver++'.",
    ),
    "end of no sort": (
        SEEDS | {"between": [1, {"seed": 2}]},
        "invalid_request",
        "`between.1` must be an image or an integer seed.",
    ),
    "start of no sort": (
        {"model": "vae-2", "mode": "traverse", "start": "middle"},
        "invalid_request",
        "`start` must be 'mean', an image or an integer seed.",
    ),
    "empty term": (
        {"model": "vae-2", "mode": "arithmetic", "terms": [{"sign": "+"}]},
        "invalid_request",
        "`terms.0` must be an object with a `sign` and one of `image`, `seed`, `z`, or `with` and `without`.",
    ),
    "term of two sorts": (
        {"model": "vae-2", "mode": "arithmetic", "terms": [{"sign": "+", "seed": 1, "with": ["hat"]}]},
        "invalid_request",
        "`terms.0.with` is not a field of this request, or the method or mode does not use it.",
    ),
    "a lora that nobody knows": (
        {"model": "sd-faces", **HATTED, "loras": [{"model": "ink"}, {"model": "inc"}]},
        "unknown_model",
        "loras.1.model: No LoRA is called 'inc'; sd-faces takes those of sd-faces: chalk, ink.",
    ),
    "a model that is no lora": (
        {"model": "sd-faces", **HATTED, "loras": [{"model": "turbo"}]},
        "unknown_model",
        "loras.0.model: No LoRA is called 'turbo'; sd-faces takes those of sd-faces: chalk, ink.",
    ),
    "a lora of another base": (
        {"model": "turbo", **HATTED, "loras": [{"model": "sketch"}]},
        "model_mismatch",
        "loras.0.model: 'sketch' is a LoRA of sdxl; turbo takes those of turbo: there are none.",
    ),
    "a lora as a model": (
        {"model": "ink", **HATTED},
        "unknown_model",
        f"model: No model that generates is called 'ink'; there are {', '.join(USABLE)}.",
    ),
    "draws that would be alike": (
        {"model": "vae-2", "mode": "arithmetic", "terms": [{"sign": "+", "seed": 1}], "n": 4},
        "invalid_request",
        "n: Draws differ by the samples of attribute terms, and there is no such term.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_word_on_what_is_allowed(known: Stack, name: str) -> None:
    body, code, message = REFUSED[name]
    before = stored(known)
    answer = post(known, **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"]) == (422, code, message)
    assert error["details"]["field"] == field_and_rule(message)[0]
    assert stored(known) == before


def test_a_model_that_was_trained_here(known: Stack) -> None:
    jobs, trained = known.jobs, card("vae-2") | {"id": "vae-0123456789ab"}
    jobs.create(NewJob(kind="training", queue="train", params={}))
    [record] = jobs.claim("train", worker="away@test")
    jobs.finish(record.id, record.fence, "succeeded", metrics={}, model=trained)
    assert accepted(post(known, model=trained["id"], mode="traverse"))["model"] == trained["id"]


def test_the_same_key_gives_the_same_job(known: Stack) -> None:
    headers = {"Idempotency-Key": "twice"}
    first, second = (post(known, headers, model="vae-2") for _ in range(2))
    assert first.json()["id"] == second.json()["id"]


def test_jobs_are_listed_by_their_kind(known: Stack) -> None:
    job = post(known, model="vae-2").json()
    found = known.client.get("/v1/jobs", params={"kind": "generation", "limit": 1}).json()["jobs"]
    assert [one["id"] for one in found] == [job["id"]]


def test_loras_of_the_models_base(known: Stack) -> None:
    loras = [{"model": "ink", "scale": 0.5}, {"model": "chalk"}]
    params = accepted(post(known, model="sd-faces", **HATTED, loras=loras))
    assert params["loras"] == [{"model": "ink", "scale": 0.5}, {"model": "chalk", "scale": 1.0}]


def test_an_example_for_every_mode() -> None:
    modes = {example["value"].get("mode", "sample") for example in EXAMPLES.values()}
    assert modes == set(ALL_MODES)
