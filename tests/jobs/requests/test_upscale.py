from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs.errors import BadInput
from jobs.limits import Limits
from jobs.requests.generation import Generation
from jobs.requests.kinds import KINDS, parse
from jobs.requests.upscale import MAX_UPSCALED, UPSCALER, UpscaledRequest, Upscaling
from models.catalogue import cards

A, B = "img_" + "a" * 64, "img_" + "b" * 64
CARDS = {
    "vae": {"task": "generation"},
    **{name: {"task": card.task} for name, card in cards().items() if card.task == "upscaling"},
}
PROMPTED: dict[str, Any] = {"mode": "text-to-image", "model": "any", "prompt": "a hat", "width": 512, "height": 512}


def upscaled(kind: str = "generation", **body: Any) -> UpscaledRequest:
    request = parse(kind, body if kind != "generation" else {"model": "any"} | body)
    assert isinstance(request, UpscaledRequest)
    return request


def test_the_default_upscaler_is_shipped_and_fills_in() -> None:
    assert upscaled().upscale == 1, "nothing is upscaled unless it is asked for"
    assert upscaled(upscale=3).with_upscaler(CARDS).upscaler == UPSCALER
    assert upscaled(upscale=2, upscaler="realesrgan-x4plus").with_upscaler(CARDS).upscaler == "realesrgan-x4plus"


@pytest.mark.parametrize("name", ["vae", "realesrgan-x8"])
def test_a_model_that_does_not_upscale_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(BadInput, match=f"upscaler: No model that upscales is called '{name}'") as caught:
        upscaled(upscale=4, upscaler=name).with_upscaler(CARDS)
    known = ["realesr-animevideov3", "realesrgan-x4plus", "realesrgan-x4plus-anime"]
    assert caught.value.details == {"field": "upscaler", "allowed": known}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"upscale": 5}, "upscale"),
        ({"upscale": 0}, "upscale"),
        ({"upscale": 1.5}, "upscale"),
        ({"upscaler": UPSCALER}, "upscaler"),
        ({"mode": "upscale", "images": [A], "scale": 1}, "scale"),
        ({"mode": "upscale", "images": [A], "upscale": 2}, "upscale"),
        ({"mode": "upscale", "images": []}, "images"),
    ],
)
def test_what_cannot_be_upscaled_is_refused(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Generation).validate_python({"model": "any"} | body)
    assert field in [part for error in caught.value.errors() for part in error["loc"]]


def test_every_request_that_makes_images_can_be_upscaled() -> None:
    assert upscaled("style-transfer", content=A, style="builtin:1", upscale=2).upscale == 2
    assert upscaled("style-transfer", content=A, style=B, method="gatys", upscale=2).upscale == 2
    assert upscaled("style-transfer", mode="texture", style=B, upscale=2).upscale == 2
    collection = "col_" + "0" * 24
    assert upscaled("cluster-sampling", collection=collection, upscale=2).upscale == 2
    assert upscaled("pc-steering", collection=collection, components=[{"component": 0}], upscale=2).upscale == 2
    assert "generation" in KINDS and upscaled(**PROMPTED, upscale=2).upscale == 2


def test_more_pixels_than_memory_holds_are_refused() -> None:
    assert MAX_UPSCALED == 16 * 512**2
    most = upscaled(**PROMPTED, num_images_per_prompt=16, upscale=2)
    assert most.with_upscaler(CARDS).upscaler == UPSCALER
    with pytest.raises(BadInput, match="upscale: All images together have 4,259,840 pixels; at most") as caught:
        most.model_copy(update={"width": 520}).with_upscaler(CARDS)
    assert (caught.value.code, caught.value.details["field"]) == ("too_many_pixels", "upscale")
    mode = parse("generation", {"mode": "upscale", "model": UPSCALER, "images": [A, B]})
    assert isinstance(mode, Upscaling) and mode.scale == 4 and mode.queue == "gpu"
    mode.check_sizes({"images.0": (2048, 1024), "images.1": (1024, 2048)})
    with pytest.raises(BadInput, match="images: All images together"):
        mode.check_sizes({"images.0": (2048, 1024), "images.1": (1025, 2048)})


def test_a_key_limits_the_pixels_after_upscaling() -> None:
    params = upscaled(**PROMPTED, upscale=2)
    Limits(pixels=4 * 512**2).check(params)
    with pytest.raises(BadInput, match="limit of pixels"):
        Limits(pixels=4 * 512**2 - 1).check(params)
