"""Parts of images that are generated and pasted back, by a tiny untrained model."""

from typing import Any, cast

import numpy as np
import pytest

from models.catalogue import Card
from tests.worker.runners.prompted import IMAGE, MASK, images_of, task
from tests.worker.tasks import run_alone
from worker.run import JobResult, Pixels, Task

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (120, 200, 3), dtype=np.uint8)


def boxed_mask(left: int, top: int, right: int, bottom: int, size: tuple[int, int] = (120, 200)) -> Pixels:
    mask = np.zeros((*size, 3), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def asked(of: Card, image: Pixels, mask: Pixels | None = None, **params: Any) -> Task:
    masked = params if mask is None else params | {"mask": MASK}
    made = task(of, **{"mode": "inpaint", "image": IMAGE, **masked})
    made.read_image = lambda image_id: cast(Pixels, mask if image_id == MASK else image)
    return made


def changed(made: JobResult, image: Pixels) -> Pixels:
    """Where any channel differs, (n, h, w)."""
    found: Pixels = (images_of(made) != image).any(3)
    return found


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((60, 40, 90, 70), {}),
        ((0, 0, 40, 30), {}),  # at a corner: the border of the image is not an edge
        ((5, 50, 195, 60), {}),  # as a square wider than the image is high
        ((60, 20, 70, 115), {"width": 64, "height": 32}),
        ((100, 60, 101, 61), {"mask_feather": 0}),
    ],
)
def test_only_the_mask_changes_in_an_image_of_any_size(
    tiny: Card, box: tuple[int, int, int, int], shape: dict[str, int]
) -> None:
    mask = boxed_mask(*box)
    found = changed(run_alone(asked(tiny, PHOTO, mask, padding_mask_crop=6, **shape)), PHOTO)[0]
    inside = mask[..., 0] > 0
    assert found.shape == (120, 200) and not found[~inside].any()
    assert found[inside].mean() > 0.9


def test_the_mask_fades_over_pixels_of_the_image(tiny: Card) -> None:
    """The share of the generated image is 1/5 to 4/5 from the edge inwards, as in the masks of whole images."""
    image = np.full_like(PHOTO, 90)

    def found(feather: int) -> Any:
        mask = boxed_mask(0, 0, 200, 40)
        return images_of(run_alone(asked(tiny, image, mask, padding_mask_crop=6, mask_feather=feather)))[0].astype(int)

    hard, soft = found(0), found(4)
    assert (soft[40:] == 90).all() and (soft[:36] == hard[:36]).all()
    for row, share in ((39, 0.2), (38, 0.4), (37, 0.6), (36, 0.8)):
        assert np.abs(soft[row] - (90 + share * (hard[row] - 90))).max() <= 1


@pytest.mark.parametrize(
    ("expand", "size", "inner"),
    [
        ({"left": 16}, (64, 80), (slice(0, 64), slice(16 + 4, 80))),
        ({"right": 7, "bottom": 30}, (94, 71), (slice(0, 60), slice(0, 60))),
        ({"left": 1, "right": 2, "top": 3, "bottom": 4}, (71, 67), (slice(7, 63), slice(5, 61))),
    ],
)
def test_an_expanded_image_keeps_the_original_inside_its_seam(
    tiny: Card, expand: dict[str, int], size: tuple[int, int], inner: tuple[slice, slice]
) -> None:
    image = PHOTO[:64, :64]
    [found] = images_of(run_alone(asked(tiny, image, expand=expand)))
    assert found.shape == (*size, 3)
    left, top = expand.get("left", 0), expand.get("top", 0)
    canvas = np.pad(image, [(top, size[0] - 64 - top), (left, size[1] - 64 - left), (0, 0)], mode="edge")
    same = (found == canvas).all(2)
    assert same[inner].all()
    same[inner] = False
    assert same.mean() < 0.1


def test_without_a_seam_the_whole_original_stays(tiny: Card) -> None:
    image = PHOTO[:64, :64]
    [found] = images_of(run_alone(asked(tiny, image, expand={"top": 12}, mask_feather=0)))
    assert (found[12:] == image).all() and (found[:12] != image[0]).any(2).mean() > 0.9


def test_several_images_have_a_grid_and_an_enlarged_part_a_warning(tiny: Card) -> None:
    asks = asked(tiny, PHOTO, boxed_mask(60, 40, 100, 80), padding_mask_crop=6, num_images_per_prompt=2)
    made = run_alone(asks)
    assert [image.role for image in made.images] == ["picture", "picture", "grid"]
    assert (made.images[0].pixels != made.images[1].pixels).any()
    assert [each["code"] for each in asks.warnings] == ["part_enlarged"]
    assert asks.warnings[0]["message"].startswith("A part of 52 x 52 pixels is generated at 32 x 32 and enlarged")
    sharp = asked(tiny, PHOTO, boxed_mask(60, 40, 80, 60), padding_mask_crop=6)
    run_alone(sharp)
    assert sharp.warnings == []
