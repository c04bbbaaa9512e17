from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs.errors import BadInput
from jobs.limits import Limits
from jobs.requests.facts import Facts
from jobs.requests.generation import Generation
from jobs.requests.kinds import KINDS, parse
from jobs.requests.upscale import MAX_UPSCALED, UPSCALER, UpscaledRequest, Upscaling
from models.catalogue import cards

A, B = "img_" + "a" * 64, "img_" + "b" * 64
FACES = {
    **{"id": "faces", "task": "text-to-image", "upscaler": "realesrgan-x4plus-anime"},
    "architecture": {"name": "stable-diffusion", "image_size": 64},
}
CARDS: dict[str, dict[str, Any]] = {
    "vae": {"task": "generation", "architecture": {}},
    "faces": FACES,
    **{
        name: {"task": card.task, "architecture": card.architecture}
        for name, card in cards().items()
        if card.task == "upscaling"
    },
}
PROMPTED: dict[str, Any] = {"mode": "text-to-image", "model": "any", "prompt": "a hat", "width": 512, "height": 512}


class Cards(Facts):
    """The cards alone."""

    def __init__(self) -> None:
        pass

    def cards(self) -> dict[str, dict[str, Any]]:
        return CARDS


def upscaled(kind: str = "generation", **body: Any) -> UpscaledRequest:
    request = parse(kind, body if kind != "generation" else {"model": "any"} | body)
    assert isinstance(request, UpscaledRequest)
    return request


def chosen(**body: Any) -> tuple[int | None, str | None]:
    filled_in = upscaled(**body).with_upscaler(Cards())
    return filled_in.upscale, filled_in.upscaler


def test_the_default_upscaler_is_shipped_and_fills_in() -> None:
    assert UPSCALER in CARDS
    assert chosen() == (1, None), "nothing is upscaled unless it is asked for"
    assert chosen(upscale=3) == (3, UPSCALER)
    assert chosen(upscale=2, upscaler="realesrgan-x4plus") == (2, "realesrgan-x4plus")
    assert chosen(upscaler="realesrgan-x4plus") == (4, "realesrgan-x4plus")


def test_a_model_with_an_upscaler_on_its_card_makes_large_images() -> None:
    own = "realesrgan-x4plus-anime"
    assert chosen(model="faces") == (4, own)
    assert chosen(model="faces", upscale=2) == (2, own)
    assert chosen(model="faces", upscaler=UPSCALER) == (4, UPSCALER)
    assert chosen(model="faces", upscale=1) == (1, None)


def test_images_of_a_size_that_was_asked_for_keep_it() -> None:
    prompted = {"model": "faces", "mode": "text-to-image", "prompt": "a hat"}

    def scale(**body: Any) -> int | None:
        resolved: Any = upscaled(**{**prompted, **body}).resolved(Cards())
        filled_in: int | None = resolved.with_upscaler(Cards()).upscale
        return filled_in

    assert scale() == scale(mode="image-to-image", image=A) == 4
    assert scale(width=96) == scale(width=64, height=64) == 1
    assert scale(width=96, upscale=2) == 2
    assert scale(mode="inpaint", image=A, mask=B) == 1, "pixels outside the mask stay as they are"


def test_one_batch_is_upscaled_alike() -> None:
    prompted: dict[str, Any] = {"mode": "text-to-image", "model": "faces", "prompt": "a hat"}
    kinds: list[dict[str, Any]] = [{"upscale": 1}, {"upscale": 4}, {"upscale": 4, "upscaler": "realesrgan-x4plus"}]
    assert len({upscaled(**{**prompted, **kind}).compatibility() for kind in kinds}) == 3


def test_the_requests_of_earlier_releases_are_not_upscaled() -> None:
    """Their records hold `upscale: 1`, or lack the field."""
    assert upscaled(model="faces").scale_of_images == upscaled(model="faces", upscale=1).scale_of_images == 1


@pytest.mark.parametrize("name", ["vae", "realesrgan-x8"])
def test_a_model_that_does_not_upscale_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(BadInput, match=f"upscaler: No model that upscales is called '{name}'") as caught:
        upscaled(upscale=4, upscaler=name).with_upscaler(Cards())
    known = ["realesr-animevideov3", "realesrgan-x4plus", "realesrgan-x4plus-anime", "upscaler-avatars"]
    assert caught.value.details == {"field": "upscaler", "allowed": known}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"upscale": 5}, "upscale"),
        ({"upscale": 0}, "upscale"),
        ({"upscale": 1.5}, "upscale"),
        ({"upscaler": UPSCALER, "upscale": 1}, "upscaler"),
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
    assert upscaled("pc-animation", collection=collection, path={"component": 0}, upscale=2).upscale == 2
    assert upscaled("pc-steering", collection=collection, components=[{"component": 0}], upscale=2).upscale == 2
    assert "generation" in KINDS and upscaled(**PROMPTED, upscale=2).upscale == 2


def test_more_pixels_than_memory_holds_are_refused() -> None:
    assert MAX_UPSCALED == 16 * 512**2
    most = upscaled(**PROMPTED, num_images_per_prompt=16, upscale=2)
    assert most.with_upscaler(Cards()).upscaler == UPSCALER
    with pytest.raises(BadInput, match="upscale: All images together have 4,259,840 pixels; at most") as caught:
        most.model_copy(update={"width": 520}).with_upscaler(Cards())
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
