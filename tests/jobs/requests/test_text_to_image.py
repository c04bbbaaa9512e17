from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cards.schedulers import SCHEDULERS
from jobs.errors import BadInput
from jobs.requests.architectures import TEXT_MODES
from jobs.requests.generation import Generation, Prompted
from jobs.requests.kinds import parse
from models.catalogue import cards

PARAMS: TypeAdapter[Generation] = TypeAdapter(Generation)
A, B = "img_" + "a" * 64, "img_" + "b" * 64
CONTROL = {"model": "edges", "image": A}
SMALL = {"name": "stable-diffusion", "image_size": 64}
TURBO = {"name": "diffusers", "image_size": 512, "num_inference_steps": 1, "guided": False, "schedulers": ["euler"]}
FLOW = {"name": "diffusers", "image_size": 512, "num_inference_steps": 4, "guided": False, "schedulers": []}


def parsed(mode: str = "text-to-image", **more: Any) -> Prompted:
    images = {"text-to-image": {}, "image-to-image": {"image": A}, "inpaint": {"image": A, "mask": B}}[mode]
    found = PARAMS.validate_python({"mode": mode, "model": "any", "prompt": "a hat", **images, **more})
    assert isinstance(found, Prompted)
    return found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": "a" * 2001}, "prompt"),
        ({"negative_prompt": "a" * 2001}, "negative_prompt"),
        ({"width": 63}, "width"),
        ({"height": 24}, "height"),
        ({"height": 4096}, "height"),
        ({"num_images_per_prompt": 17}, "num_images_per_prompt"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"scheduler": "dpm++ 4m"}, "scheduler"),
        ({"scheduler": 3}, "scheduler"),
        ({"eta": 1.5}, "eta"),
        ({"clip_skip": 11}, "clip_skip"),
        ({"clip_skip": -1}, "clip_skip"),
        ({"loras": [{"model": "ink"}, {"model": "ink", "scale": 0.5}]}, "loras"),
        ({"loras": [{"model": f"ink-{i}"} for i in range(5)]}, "loras"),
        ({"loras": [{"model": "ink", "scale": 3}]}, "loras"),
        ({"loras": [{"model": "../ink"}]}, "loras"),
        ({"textual_inversions": ["cat", "cat"]}, "textual_inversions"),
        ({"textual_inversions": [f"cat-{i}" for i in range(9)]}, "textual_inversions"),
        ({"control": CONTROL | {"low_threshold": 9}}, "control"),
        ({"control": CONTROL | {"preprocess": "canny", "low_threshold": 9, "high_threshold": 8}}, "control"),
        ({"control": CONTROL | {"start": 0.5, "end": 0.5}}, "control"),
        ({"control": CONTROL | {"preprocess": "depth"}}, "control"),
        ({"mode": "inpaint", "control": CONTROL}, "control"),
        ({"image_prompt": {"model": "adapter", "image": A, "scale": 2}}, "image_prompt"),
        ({"strength": 0.5}, "strength"),
        ({"image": A}, "image"),
        ({"mode": "image-to-image", "mask": A}, "mask"),
        ({"mode": "image-to-image", "strength": 0}, "strength"),
    ],
)
def test_what_no_model_could_use_is_refused(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        parsed(**body)
    assert error.value.errors()[0]["loc"][1] == field


@pytest.mark.parametrize(
    ("params", "architecture", "filled"),
    [
        (parsed(), SMALL, [64, 64, 25, 4.0, "ddim"]),
        (parsed(width=96, scheduler="lcm", guidance_scale=0), SMALL, [96, 64, 25, 0.0, "lcm"]),
        (parsed(), TURBO, [512, 512, 1, 0.0, "euler"]),
        (parsed(), SMALL | {"scheduler": "heun"}, [64, 64, 25, 4.0, "heun"]),
        (parsed(scheduler="DPM++ 2M"), SMALL | {"schedulers": ["lms", "dpm-solver++"]}, [64, 64, 25, 4.0, "dpm++ 2m"]),
        (parsed(), SMALL | {"schedulers": ["dpm-solver++"]}, [64, 64, 25, 4.0, "dpm++ 2m"]),
        (parsed(scheduler="PLMS", eta=None, clip_skip=0), SMALL, [64, 64, 25, 4.0, "pndm"]),
        (parsed(num_inference_steps=2), FLOW, [512, 512, 2, 0.0, None]),
        (parsed(negative_prompt="", guidance_scale=1), TURBO, [512, 512, 1, 0.0, "euler"]),
        # A distilled model's one step is too few for a part of it: the fewest of which one is left.
        (parsed("image-to-image"), TURBO, [512, 512, 2, 0.0, "euler"]),
        (parsed("image-to-image", strength=0.3), TURBO, [512, 512, 4, 0.0, "euler"]),
        (parsed("image-to-image", strength=0.05), TURBO, [512, 512, 20, 0.0, "euler"]),
        (parsed("inpaint"), TURBO, [512, 512, 1, 0.0, "euler"]),
        (parsed("image-to-image"), FLOW, [512, 512, 4, 0.0, None]),
    ],
)
def test_what_is_left_out_is_the_models_own(params: Prompted, architecture: dict[str, Any], filled: list[Any]) -> None:
    resolved: Any = params.fitted(architecture)
    names = ("width", "height", "num_inference_steps", "guidance_scale", "scheduler")
    assert [getattr(resolved, name) for name in names] == filled
    assert PARAMS.validate_python(resolved.model_dump(mode="json")) == resolved == resolved.fitted(architecture)


@pytest.mark.parametrize(
    ("params", "architecture", "message"),
    [
        (
            parsed(negative_prompt="fog"),
            TURBO,
            "negative_prompt: Model any works without guidance and does not use it.",
        ),
        (
            parsed(guidance_scale=3),
            TURBO,
            "guidance_scale: Model any works without guidance: 0 to 1 are allowed, and mean none.",
        ),
        (parsed(scheduler="lcm"), TURBO, "scheduler: Model any works with euler."),
        (parsed(scheduler="lcm"), FLOW, "scheduler: Model any has its own way to remove noise."),
        (
            parsed(scheduler="euler", eta=0.5),
            SMALL,
            "eta: Model any uses it with ddim and tcd, not with euler.",
        ),
        (parsed(eta=0.5), FLOW, "eta: Model any uses it with ddim and tcd, not with None."),
        (
            parsed(clip_skip=1),
            FLOW | {"clip": False},
            "clip_skip: Model any has a text encoder that is not CLIP, and reads all its layers.",
        ),
        (
            parsed(clip_skip=3),
            SMALL | {"text": {"text_layers": 3}},
            "clip_skip: Model any has a text encoder of 3 layers: 0 to 2 are allowed.",
        ),
        (
            parsed("image-to-image", scheduler="pndm"),
            SMALL,
            "scheduler: Model any uses pndm for whole images, as it is one step behind in a part of them.",
        ),
        (parsed(width=264), SMALL, "width: Model any makes images of at most 256 pixels a side."),
        (
            parsed("image-to-image", strength=0.3, num_inference_steps=3),
            SMALL,
            "strength: 0.3 leaves none of 3 steps; use more steps or a larger strength.",
        ),
    ],
)
def test_what_this_model_cannot_use_is_refused_by_field(
    params: Prompted, architecture: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as error:
        params.fitted(architecture)
    assert error.value.message == message and error.value.details["field"] == message.partition(":")[0]


@pytest.mark.parametrize(
    ("params", "steps"),
    [
        (parsed(num_inference_steps=20), 20),
        (parsed("image-to-image", num_inference_steps=20, strength=0.5), 10),
        (parsed("image-to-image", num_inference_steps=20, strength=0.09), 1),
        (parsed("inpaint", num_inference_steps=20), 20),
    ],
)
def test_an_image_to_start_from_takes_the_last_steps(params: Prompted, steps: int) -> None:
    assert params.steps == steps


@pytest.mark.parametrize(
    ("more", "architecture", "hires"),
    [
        ({}, SMALL, (1.0, 25)),
        ({"width": 72, "height": 88}, SMALL, (1.0, 25)),
        ({"width": 128}, SMALL, (0.06, 26)),
        ({"width": 128, "hires_strength": 1}, SMALL, (1.0, 25)),
        ({"width": 72, "hires_strength": 0.3}, SMALL, (0.3, 32)),
        ({"width": 128, "scheduler": "pndm"}, SMALL, (1.0, 25)),
        ({"width": 1024}, TURBO, (1.0, 1)),
    ],
)
def test_images_above_twice_the_models_own_area_are_generated_in_two_sizes(
    more: dict[str, Any], architecture: dict[str, Any], hires: tuple[float, int]
) -> None:
    resolved: Any = parsed(**more).fitted(architecture)
    assert (resolved.hires_strength, resolved.steps) == hires
    assert resolved.is_hires == (hires[0] < 1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"hires_strength": 0.5},
            "hires_strength: Model any uses it for more pixels than its own 4,096; the result has",
        ),
        ({"hires_upscaler": "x4"}, "hires_upscaler: Model any uses it for more pixels than its own 4,096"),
        ({"width": 72, "hires_upscaler": "x4"}, "hires_upscaler: Model any makes images of this size at once"),
        ({"width": 128, "hires_strength": 0.1, "num_inference_steps": 9}, "hires_strength: 0.1 leaves none of 9 steps"),
        ({"width": 128, "hires_strength": 0.5, "scheduler": "pndm"}, "scheduler: Model any uses pndm for whole images"),
    ],
)
def test_a_first_size_that_cannot_be_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as error:
        parsed(**more).fitted(SMALL)
    assert error.value.message.startswith(message) and error.value.details["field"] == message.partition(":")[0]


@pytest.mark.parametrize(
    ("width", "height", "first"), [(128, 128, (64, 64)), (256, 128, (88, 48)), (256, 32, (184, 32)), (96, 64, (80, 56))]
)
def test_the_first_size_has_the_models_own_area(width: int, height: int, first: tuple[int, int]) -> None:
    params: Any = parsed(width=width, height=height)
    assert params.first_size(64) == first


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_blank_negative_prompt_is_none(text: str) -> None:
    """Common clients send it."""
    assert parsed(negative_prompt=text).negative_prompt is None


@pytest.mark.parametrize("model", [card.id for card in cards().values() if card.task == "text-to-image"])
@pytest.mark.parametrize("mode", TEXT_MODES)
def test_defaults_of_every_model_are_usable(model: str, mode: str) -> None:
    resolved: Any = parsed(mode).fitted(cards()[model].architecture)
    assert resolved.steps >= 1
    assert PARAMS.validate_python(resolved.model_dump(mode="json")) == resolved


def test_images_are_found_and_changed_in_their_places() -> None:
    assert parsed("inpaint").image_refs() == {"image": A, "mask": B}
    assert parsed("inpaint").with_images({"image": B, "mask": A}).image_refs() == {"image": B, "mask": A}
    assert parsed("image-to-image").image_refs() == {"image": A}
    assert parsed().image_refs() == {}


def test_only_what_one_batch_can_hold_runs_together() -> None:
    def compat(**body: Any) -> str:
        return parsed(**body).fitted(SMALL).compatibility()

    own = compat(prompt="a dog", negative_prompt="fog", num_images_per_prompt=3, seed=4, width=64)
    assert compat() == own != ""
    assert compat(control=CONTROL) == compat(control=CONTROL | {"image": B, "preprocess": "canny"})
    others: list[dict[str, Any]] = [
        {"mode": "inpaint"},
        {"mode": "image-to-image"},
        {"mode": "image-to-image", "strength": 0.5},
        {"model": "another"},
        {"width": 96},
        {"height": 96},
        {"num_inference_steps": 9},
        {"guidance_scale": 5},
        {"eta": 0.5},
        {"clip_skip": 1},
        {"loras": [{"model": "ink"}]},
        {"loras": [{"model": "ink", "scale": 0.5}]},
        {"textual_inversions": ["cat"]},
        {"control": CONTROL},
        {"control": CONTROL | {"scale": 0.5}},
        {"control": CONTROL | {"end": 0.5}},
        {"image_prompt": {"model": "adapter", "image": A}},
        {"image_prompt": {"model": "adapter", "image": B}},
        *({"scheduler": name} for name in SCHEDULERS[1:]),
    ]
    found = [own, *(compat(**body) for body in others)]
    assert len(set(found)) == len(found)
    assert parse("generation", {"mode": "interpolate", "model": "any", "between": [1, 2]}).compatibility() == ""
    assert parse("generation", {"mode": "traverse", "model": "any"}).compatibility() == ""
