from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs.errors import BadInput
from jobs.requests.style_transfer import DiffusionTransfer, StyleTransferParams, can_be_guided, fitted_diffusion

PARAMS: TypeAdapter[Any] = TypeAdapter(StyleTransferParams)
A = "img_" + "a" * 64
TEXT = {"name": "stable-diffusion", "image_size": 64}
PIXELS = {"name": "ddpm", "image_size": 16}


def parsed(**more: Any) -> DiffusionTransfer:
    found = PARAMS.validate_python({"method": "diffusion", "model": "any", "style": A, **more})
    assert isinstance(found, DiffusionTransfer)
    return found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"style_guidance_scale": -0.1}, "style_guidance_scale"),
        ({"style_guidance_scale": [0.1]}, "style_guidance_scale"),
        ({"style_guidance_scale": [0.1] * 9}, "style_guidance_scale"),
        ({"guided_from": 0.5, "guided_to": 0.5}, "guided_to"),
        ({"strength": 0.5}, "strength"),
        ({"prompt": " "}, "prompt"),
        ({"style": "builtin:3"}, "style"),
        ({"style_layers": ["relu1_1", "relu1_1"]}, "style_layers"),
        ({"style_weight": 2}, "style_weight"),
        ({"num_images_per_prompt": 9}, "num_images_per_prompt"),
        ({"num_inference_steps": 1001}, "num_inference_steps"),
        ({"guided_from": 0.95}, "guided_to"),
    ],
)
def test_what_no_model_could_use_is_refused(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        parsed(**body)
    assert error.value.errors()[0]["loc"][2] == field


def test_what_is_left_out_is_the_models_own() -> None:
    plain = fitted_diffusion(parsed(prompt="a hat"), TEXT)
    assert (plain.guidance_scale, plain.strength, plain.scales) == (4.0, None, [0.1])
    begun = fitted_diffusion(parsed(content=A, style_guidance_scale=[0, 0.2]), PIXELS)
    assert (begun.guidance_scale, begun.strength, begun.scales) == (None, 0.6, [0, 0.2])
    assert PARAMS.validate_python(begun.model_dump(mode="json")) == begun == fitted_diffusion(begun, PIXELS)


@pytest.mark.parametrize(
    ("params", "architecture", "message"),
    [
        (parsed(), TEXT, "prompt: Model any needs a text."),
        (parsed(prompt="a hat"), PIXELS, "prompt: Model any reads no texts."),
        (parsed(guidance_scale=3), PIXELS, "guidance_scale: Model any reads no texts."),
        (
            parsed(content=A, strength=0.1, num_inference_steps=5),
            PIXELS,
            "strength: 0.1 leaves none of 5 steps.",
        ),
    ],
)
def test_what_this_model_cannot_use_is_refused_by_field(
    params: DiffusionTransfer, architecture: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as error:
        fitted_diffusion(params, architecture)
    assert error.value.message == message


def test_which_models_can_be_guided() -> None:
    assert can_be_guided(TEXT) and can_be_guided(PIXELS)
    assert can_be_guided({"name": "diffusers", "style_guided": True})
    assert not can_be_guided({"name": "diffusers"})
    assert not any(can_be_guided({"name": name}) for name in ("dcgan", "kandinsky", "classifier"))
    assert not can_be_guided({})
