from typing import Any, cast

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs.errors import BadInput
from jobs.requests.architectures import capabilities
from jobs.requests.style_diffusion import DiffusionTransfer
from jobs.requests.style_transfer import StyleTransfer

PARAMS: TypeAdapter[Any] = TypeAdapter(StyleTransfer)
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
    plain = parsed(prompt="a hat").fitted(TEXT)
    assert (plain.guidance_scale, plain.strength, plain.scales) == (4.0, None, [0.1])
    begun = parsed(content=A, style_guidance_scale=[0, 0.2]).fitted(PIXELS)
    assert (begun.guidance_scale, begun.strength, begun.scales) == (None, 0.6, [0, 0.2])
    assert PARAMS.validate_python(begun.model_dump(mode="json")) == begun == begun.fitted(PIXELS)


@pytest.mark.parametrize(
    ("params", "architecture", "message"),
    [
        (parsed(), TEXT, "prompt: Model any needs a text."),
        (parsed(prompt="a hat"), PIXELS, "prompt: Model any is not conditioned on text."),
        (parsed(guidance_scale=3), PIXELS, "guidance_scale: Model any is not conditioned on text."),
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
        params.fitted(architecture)
    assert error.value.message == message


def test_which_models_can_be_guided() -> None:
    assert capabilities(TEXT).style_guided and capabilities(PIXELS).style_guided
    assert capabilities({"name": "diffusers", "style_guided": True}).style_guided
    assert not capabilities({"name": "diffusers"}).style_guided
    assert not any(capabilities({"name": name}).style_guided for name in ("dcgan", "kandinsky", "classifier"))
    assert not capabilities({}).style_guided


class Cards:
    """Facts of one trained style."""

    def cards(self) -> dict[str, Any]:
        return {"style-" + "a" * 12: {"architecture": {"name": "style-net"}}, "vae-2": {"architecture": {}}}


def test_a_trained_style_is_used_and_must_exist() -> None:
    known, other = "style-" + "a" * 12, "style-" + "b" * 12
    blend = [{"image": "builtin:3"}, {"image": known, "weight": 2}]
    asked = PARAMS.validate_python({"content": A, "style": blend})
    assert asked.resolved(cast(Any, Cards())).uses().models == (known,)
    assert PARAMS.validate_python({"content": A, "style": "builtin:3"}).uses().models == ()
    for style, field in ((other, "style"), ([blend[0], {"image": other}], "style.1.image")):
        with pytest.raises(BadInput, match=f"{field}: No style called '{other}' was trained; there are {known}"):
            PARAMS.validate_python({"content": A, "style": style}).resolved(cast(Any, Cards()))
    with pytest.raises(ValidationError):
        PARAMS.validate_python({"method": "gatys", "content": A, "style": known})
