from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs.errors import BadInput
from jobs.requests.architectures import ARCHITECTURES
from jobs.requests.arithmetic import Arithmetic, attribute_names
from jobs.requests.base import UnresolvedError, filled
from jobs.requests.generation import Generation
from jobs.requests.kinds import parse

PARAMS: TypeAdapter[Generation] = TypeAdapter(Generation)
A, B = "img_" + "a" * 64, "img_" + "b" * 64
QUESTIONS = [["no woman", "woman"], ["no glasses", "glasses"]]
VAE = {"name": "conv-vae", "latent_dim": 4}
GAN = {"name": "mlp-gan", "latent_dim": 4}
DDPM = {"name": "ddpm"}
CONDITIONED = {**DDPM, "attributes": ["hat", "glasses"]}
CYCLEGAN = {"name": "cyclegan"}


def parsed(**body: Any) -> Generation:
    return PARAMS.validate_python({"model": "any", **body})


def fitted(params: Generation, architecture: dict[str, Any]) -> Generation:
    if isinstance(params, Arithmetic):
        return params.fitted(architecture, QUESTIONS)
    return params.fitted(architecture)


def arithmetic(*terms: dict[str, Any], **more: Any) -> Generation:
    return parsed(mode="arithmetic", terms=[{"sign": "+", **term} for term in terms], **more)


WITH_IMAGES: dict[str, tuple[Generation, dict[str, str]]] = {
    "reconstruct": (parsed(mode="reconstruct", images=[A, B]), {"images.0": A, "images.1": B}),
    "translate": (parsed(mode="translate", images=[A]), {"images.0": A}),
    "interpolate": (parsed(mode="interpolate", between=[3, A, 4]), {"between.1": A}),
    "traverse": (parsed(mode="traverse", start=A), {"start": A}),
    "arithmetic": (arithmetic({"seed": 1}, {"image": B}), {"terms.1.image": B}),
    "no image": (parsed(mode="traverse"), {}),
    "seeds": (parsed(mode="interpolate", between=[1, 2]), {}),
}


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_images_are_found_and_changed_in_their_places(name: str) -> None:
    params, images = WITH_IMAGES[name]
    assert params.image_refs() == images
    others = {field: "img_" + f"{i}" * 64 for i, field in enumerate(images)}
    changed = params.with_images(others)
    assert changed.image_refs() == others
    assert changed.with_images(images) == params


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 2, "seeds": [1]}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"attributes": ["hat", "hat"]}, "attributes"),
        ({"mode": "traverse", "dimensions": [1, 1]}, "dimensions"),
        ({"mode": "interpolate", "between": [1, True]}, "between"),
        ({"mode": "interpolate", "between": [1]}, "between"),
        ({"mode": "traverse", "start": "middle"}, "start"),
        ({"mode": "arithmetic", "terms": [{"sign": "+"}]}, "terms"),
        ({"mode": "arithmetic", "terms": [{"sign": "+", "seed": 1, "image": A}]}, "terms"),
        ({"mode": "arithmetic", "terms": [{"sign": "+", "z": [float("nan")]}]}, "terms"),
        ({"mode": "arithmetic", "terms": [{"sign": "+", "with": []}]}, "terms"),
        ({"mode": "arithmetic", "terms": [{"sign": "+", "with": ["hat"], "without": ["hat"]}]}, "terms"),
        ({"mode": "arithmetic", "terms": [{"sign": "+", "seed": 1}], "n": 2}, "n"),
        ({"mode": "arithmetic", "terms": [{"sign": "+", "attribute": "hat"}], "n": 2}, "n"),
        ({"mode": "arithmetic", "terms": [{"sign": "+", "seed": 1, "weight": 0}]}, "terms"),
        ({"mode": "denoise-steps", "n": 2}, "n"),
        ({"guidance_scale": 31}, "guidance_scale"),
        ({"model": "../etc"}, "model"),
    ],
)
def test_what_no_model_could_use_is_refused(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        parsed(**body)
    assert error.value.errors()[0]["loc"][1] == field


@pytest.mark.parametrize(
    ("params", "architecture", "message"),
    [
        (
            parsed(num_inference_steps=5),
            VAE,
            "num_inference_steps: Model any is not a diffusion model and does not use it.",
        ),
        (parsed(scheduler="ddim"), GAN, "scheduler: Model any is not a diffusion model and does not use it."),
        (parsed(guidance_scale=1), VAE, "guidance_scale: Model any is not a diffusion model and does not use it."),
        (
            parsed(guidance_scale=2),
            DDPM,
            "guidance_scale: Model any is not conditioned on attributes and does not use it.",
        ),
        (
            parsed(mode="denoise-steps", guidance_scale=0),
            DDPM,
            "guidance_scale: Model any is not conditioned on attributes and does not use it.",
        ),
        (parsed(attributes=["hat"]), DDPM, "attributes: Model any is not conditioned on attributes."),
        (parsed(attributes=["hat"]), VAE, "attributes: Model any is not conditioned on attributes."),
        (
            parsed(attributes=["hat", "wings"]),
            CONDITIONED,
            "attributes: There is no attribute 'wings'; there are hat, glasses.",
        ),
        (parsed(mode="traverse", dimensions=[0, 4]), VAE, "dimensions.1: Model any has 4 dimensions, 0 to 3."),
        (
            parsed(mode="interpolate", between=[1, A]),
            GAN,
            "between.1: Model any has no encoder: it takes seeds, not images.",
        ),
        (
            parsed(mode="interpolate", between=[A, 1]),
            DDPM,
            "between.0: Model any has no encoder: it takes seeds, not images.",
        ),
        (parsed(mode="traverse", start=A), GAN, "start: Model any has no encoder: it takes seeds, not images."),
        (
            arithmetic({"image": A}),
            GAN,
            "terms.0.image: Model any has no encoder: it takes seeds, not images.",
        ),
        (arithmetic({"z": [1, 2]}), VAE, "terms.0.z: Model any has a z of 4 values, not 2."),
        (
            arithmetic({"seed": 1}, {"with": ["hat"]}),
            VAE,
            "terms.1.with: There is no attribute 'hat'; there are woman, glasses.",
        ),
        (
            arithmetic({"seed": 1}, {"attribute": "no woman"}),
            VAE,
            "terms.1.attribute: There is no attribute 'no woman'; there are woman, glasses.",
        ),
        (
            arithmetic({"without": ["no woman"]}),
            VAE,
            "terms.0.without: There is no attribute 'no woman'; there are woman, glasses.",
        ),
    ],
)
def test_what_this_model_cannot_use_is_refused(params: Generation, architecture: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as error:
        fitted(params, architecture)
    assert error.value.message == message
    assert error.value.details["field"] == message.partition(": ")[0]


def test_attributes_need_a_classifier() -> None:
    with pytest.raises(BadInput, match="no classifier"):
        arithmetic({"with": ["woman"]}).fitted(VAE)


@pytest.mark.parametrize(
    ("params", "architecture", "filled"),
    [
        (parsed(), VAE, {"n": 4, "scheduler": None}),
        (parsed(seeds=[5]), VAE, {"n": None, "seeds": [5]}),
        (parsed(n=2), DDPM, {"n": 2, "num_inference_steps": 50, "scheduler": "ddim"}),
        (parsed(mode="interpolate", between=[1, 2], num_inference_steps=9), DDPM, {"num_inference_steps": 9}),
        (parsed(), DDPM, {"guidance_scale": None}),
        (parsed(), CONDITIONED, {"guidance_scale": 1.25, "scheduler": "ddim"}),
        (parsed(mode="interpolate", between=[1, 2], guidance_scale=0), CONDITIONED, {"guidance_scale": 0}),
        (parsed(mode="denoise-steps", scheduler="ddpm"), CONDITIONED, {"guidance_scale": 1.25, "scheduler": "ddpm"}),
        (arithmetic({"with": ["woman"]}), VAE, {"n": 8, "averaged": 64}),
        (arithmetic({"with": ["woman"]}, n=2), VAE, {"n": 2, "averaged": 64}),
        (arithmetic({"seed": 2}), VAE, {"n": None, "averaged": None}),
        (parsed(mode="translate", images=[A]), CYCLEGAN, {"direction": "a-to-b"}),
    ],
)
def test_defaults_that_depend_on_the_model(
    params: Generation, architecture: dict[str, Any], filled: dict[str, Any]
) -> None:
    resolved = fitted(params, architecture)
    assert {name: getattr(resolved, name) for name in filled} == filled
    stored = resolved.model_dump(mode="json")
    assert PARAMS.validate_python(stored) == resolved, "what is stored is what a worker reads"
    assert fitted(resolved, architecture) == resolved


def test_names_of_attributes_and_of_labels() -> None:
    assert attribute_names(QUESTIONS) == ["woman", "glasses"]
    assert attribute_names([["Trouser", "Coat", "Bag"]]) == ["Trouser", "Coat", "Bag"]
    assert attribute_names([["cat", "dog"]]) == ["cat", "dog"]
    assert attribute_names([]) == []


def test_every_mode_is_some_architectures() -> None:
    modes = {mode for known in ARCHITECTURES.values() for mode in known.modes}
    assert {parsed(**body).mode for body in BODIES} == modes


@pytest.mark.parametrize(
    ("body", "mode"),
    [
        ({"model": "any"}, "sample"),
        ({"prompt": "a hat"}, "text-to-image"),
        ({"prompt": "a hat", "image": A}, "image-to-image"),
        ({"image": A}, "vary"),
    ],
)
def test_mode_and_model_of_a_request_that_names_none(body: dict[str, Any], mode: str) -> None:
    params = PARAMS.validate_python(body)
    assert (params.mode, params.model) == (mode, body.get("model"))


BODIES: list[dict[str, Any]] = [
    {},
    {"mode": "text-to-image", "prompt": "a hat"},
    {"mode": "image-to-image", "prompt": "a hat", "image": A},
    {"mode": "inpaint", "prompt": "a hat", "image": A, "mask": B},
    {"mode": "vary", "image": A},
    {"mode": "reconstruct", "images": [A]},
    {"mode": "interpolate", "between": [1, 2]},
    {"mode": "traverse"},
    {"mode": "arithmetic", "terms": [{"sign": "-", "seed": 1}]},
    {"mode": "translate", "images": [A]},
    {"mode": "denoise-steps"},
    {"mode": "upscale", "images": [A]},
]


def test_a_field_that_was_not_resolved_is_refused() -> None:
    assert filled(0) == 0
    with pytest.raises(UnresolvedError):
        filled(None)


def test_only_samples_of_one_model_and_schedule_run_as_one_batch() -> None:
    def compat(**body: Any) -> str:
        return parsed(**body).compatibility()

    own = compat(seeds=[1, 2])
    assert own == compat(n=16, attributes=["hat"], priority=3) != ""
    assert compat(n=17) == compat(seeds=list(range(17))) == "", "many samples are a batch alone"
    others: list[dict[str, Any]] = [
        {"model": "other"},
        {"num_inference_steps": 9},
        {"scheduler": "ddpm"},
        {"guidance_scale": 2},
        {"upscale": 2},
        {"upscale": 2, "upscaler": "realesrgan-x4plus"},
        {"mode": "reconstruct", "images": [A]},
        {"mode": "reconstruct", "images": [A], "upscale": 2},
        {"mode": "upscale", "images": [A]},
        {"mode": "upscale", "images": [A], "scale": 2},
    ]
    found = [own, *(compat(**body) for body in others)]
    assert len(set(found)) == len(found) and "" not in found
    fast = [parse("style-transfer", {"content": A, "style": style}).compatibility() for style in ("builtin:1", A)]
    assert fast[0] == fast[1] not in ("", *found)
