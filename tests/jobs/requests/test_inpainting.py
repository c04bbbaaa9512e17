from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from images.regions import Box
from jobs.errors import BadInput
from jobs.requests.generation import Generation
from jobs.requests.inpainting import Expand, Inpainting

PARAMS: TypeAdapter[Generation] = TypeAdapter(Generation)
A, B = "img_" + "a" * 64, "img_" + "b" * 64
SMALL = {"name": "stable-diffusion", "image_size": 64}
LEFT = {"left": 20}


def parsed(**more: Any) -> Inpainting:
    images = {"image": A} if "expand" in more else {"image": A, "mask": B}
    found = PARAMS.validate_python({"mode": "inpaint", "model": "any", "prompt": "a hat", **images, **more})
    assert isinstance(found, Inpainting)
    return found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"mask": None}, "mask"),
        ({"mask": B, "expand": LEFT}, "mask"),
        ({"padding_mask_crop": 0}, "padding_mask_crop"),
        ({"padding_mask_crop": 1025}, "padding_mask_crop"),
        ({"expand": {}}, "expand"),
        ({"expand": {"left": 0, "top": 0}}, "expand"),
        ({"expand": {"left": -1}}, "expand"),
        ({"expand": {"left": 2049}}, "expand"),
        ({"expand": {"up": 8}}, "expand"),
        ({"expand": 8}, "expand"),
    ],
)
def test_what_no_model_could_use_is_refused(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parsed(**body)
    error = caught.value.errors()[0]
    assert field in (error.get("ctx", {}).get("field"), *error["loc"])


def test_padding_of_a_new_area_is_filled_in() -> None:
    resolved = parsed(expand={"left": 20.0}).fitted(SMALL)
    assert resolved.padding_mask_crop == 32 and resolved.expand == Expand(left=20)
    assert PARAMS.validate_python(resolved.model_dump(mode="json")) == resolved == resolved.fitted(SMALL)
    assert parsed().fitted(SMALL).padding_mask_crop is None


def test_masks_keep_their_size_where_they_are_pasted() -> None:
    assert parsed().fitted(SMALL).masks() == {"mask": (64, 64)}
    assert parsed(padding_mask_crop=8).fitted(SMALL).masks() == {"mask": None}
    assert parsed(expand=LEFT).fitted(SMALL).masks() == {}
    assert parsed(expand=LEFT).image_refs() == {"image": A}


def test_large_images_run_alone() -> None:
    assert parsed().fitted(SMALL).compatibility() != ""
    assert parsed(padding_mask_crop=8).fitted(SMALL).compatibility() == ""
    assert parsed(expand=LEFT).fitted(SMALL).compatibility() == ""


@pytest.mark.parametrize(
    ("expand", "canvas", "kept", "changed"),
    [
        # Of 40 x 30 pixels, with a seam of 4.
        (Expand(left=10), (50, 30), Box(14, 0, 50, 30), Box(0, 0, 14, 30)),
        (Expand(right=10), (50, 30), Box(0, 0, 36, 30), Box(36, 0, 50, 30)),
        (Expand(top=10), (40, 40), Box(0, 14, 40, 40), Box(0, 0, 40, 14)),
        (Expand(bottom=10), (40, 40), Box(0, 0, 40, 26), Box(0, 26, 40, 40)),
        (Expand(left=1, bottom=2), (41, 32), Box(5, 0, 41, 26), Box(0, 0, 41, 32)),
    ],
)
def test_an_image_grows(expand: Expand, canvas: tuple[int, int], kept: Box, changed: Box) -> None:
    assert (expand.canvas((40, 30)), expand.kept((40, 30), 4), expand.changed((40, 30), 4)) == (canvas, kept, changed)


@pytest.mark.parametrize(
    ("params", "size", "message"),
    [
        (parsed(padding_mask_crop=8), (5000, 5000), None),
        (parsed(padding_mask_crop=8, format="webp"), (16_383, 100), None),
        (parsed(expand={"left": 64}), (64, 64), None),
        (parsed(expand={"left": 150}), (256, 256), None),  # with the seam and the padding 186 wide, so 256 x 256
        (
            parsed(padding_mask_crop=8, num_images_per_prompt=3),
            (5000, 5000),
            "num_images_per_prompt: 5000 x 5000 x 3 pixels are too many; all images of a job may have 67,108,864.",
        ),
        (
            parsed(padding_mask_crop=8),
            (16_384, 16),
            "image: The result has 16384 x 16 pixels; a side may have 16383.",
        ),
        (
            parsed(expand={"left": 2048, "right": 2048, "top": 2048, "bottom": 2048}),
            (5000, 5000),
            "expand: 9096 x 9096 x 1 pixels are too many; all images of a job may have 67,108,864.",
        ),
        (
            parsed(padding_mask_crop=8, upscale=2),
            (3000, 3000),
            "upscale: All images together have 9,000,000 pixels; at most 4,194,304 can be upscaled.",
        ),
        (
            parsed(expand={"top": 8}, mask_feather=20),
            (64, 20),
            "mask_feather: 20 pixels on each side that grows leave nothing of an image of 64 x 20 as it is.",
        ),
        (
            parsed(expand={"left": 64, "right": 64}),
            (256, 256),
            "expand: The new area and what surrounds it have 384 x 384 pixels; by `width` and `height`, 64 x 64, at "
            "most 256 x 256 can be generated. Expand less at a time, or raise both.",
        ),
    ],
)
def test_sizes_of_results_are_bounded(params: Inpainting, size: tuple[int, int], message: str | None) -> None:
    resolved = params.fitted(SMALL)
    sizes = dict.fromkeys(resolved.image_refs(), size)
    if message is None:
        resolved.check_sizes(sizes)
        return
    with pytest.raises(BadInput) as caught:
        resolved.check_sizes(sizes)
    assert caught.value.message == message and caught.value.details["field"] == message.partition(":")[0]


def test_pixels_made_are_those_of_the_result() -> None:
    sizes = {"image": (100, 50), "mask": (100, 50)}
    assert parsed(num_images_per_prompt=2).fitted(SMALL).made_pixels(sizes) == 2 * 64 * 64
    assert parsed(padding_mask_crop=8, upscale=2).fitted(SMALL).made_pixels(sizes) == 4 * 100 * 50
    assert parsed(expand=LEFT).fitted(SMALL).made_pixels(sizes) == 120 * 50
