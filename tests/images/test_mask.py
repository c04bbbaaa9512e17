"""Masks as people make them, each with what it marks."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from images.decode import decode
from images.errors import ImageError
from images.mask import coverage, cut_out, drawn, read_mask
from tests.images.crafted import pixels, save

BOX = (16, 12, 48, 36)  # left, top, right, bottom of what the masks mark
SIZE = (64, 48)
INSIDE = np.zeros((48, 64), bool)
INSIDE[12:36, 16:48] = True


def layer(background: tuple[int, ...], paint: tuple[int, ...], box: tuple[int, int, int, int] = BOX) -> Image.Image:
    """One color with a box of another."""
    image = Image.new("RGBA" if len(paint) == 4 else "RGB", SIZE, background)
    image.paste(paint, box)
    return image


def photo_with_hole(hidden: int = 0, alpha: int = 0) -> Image.Image:
    image = Image.fromarray(pixels(*SIZE)).convert("RGBA")
    image.paste((hidden, hidden, hidden, alpha), BOX)
    return image


def read(image: Image.Image, format: str = "PNG") -> NDArray[np.bool_]:
    """The mask by way of a file, as it is uploaded."""
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    return read_mask(decode(save(image, format, **options)).image)


CLEAR, BLACK, WHITE, RED = (0, 0, 0, 0), (0, 0, 0, 255), (255, 255, 255, 255), (255, 0, 0, 255)
MARKED_BOX = {
    "white on black": layer((0, 0, 0), (255, 255, 255)),
    "gray 1": layer((1, 1, 1), (255, 255, 255)),
    "gray 10 and 245": layer((10, 10, 10), (245, 245, 245)),
    "yellow on dark blue": layer((0, 0, 90), (255, 230, 0)),
    "opaque alpha": layer(BLACK, WHITE),
    "alpha that is 254 somewhere": layer((0, 0, 0, 254), WHITE),
    "alpha of 128 everywhere": layer((0, 0, 0, 128), (255, 255, 255, 128)),
    "hole in a photo": photo_with_hole(),
    "hole in a photo whose colors stayed": photo_with_hole(200),
    "half erased": photo_with_hole(90, 100),
    "hole in black": layer(BLACK, CLEAR),
    "hole in white": layer(WHITE, CLEAR),
    "hole in red": layer(RED, CLEAR),
    "white brush": layer(CLEAR, WHITE),
    "black brush": layer(CLEAR, BLACK),
    "red brush": layer(CLEAR, RED),
    "half transparent brush": layer(CLEAR, (255, 0, 0, 100)),
    "a cut-out of a photo": Image.composite(
        Image.fromarray(pixels(*SIZE)).convert("RGBA"), Image.new("RGBA", SIZE), Image.fromarray(INSIDE)
    ),
}


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.parametrize("name", MARKED_BOX)
def test_what_is_marked(name: str, format: str) -> None:
    assert (read(MARKED_BOX[name], format) == INSIDE).all()


@pytest.mark.parametrize("format", ["JPEG", "GIF", "BMP", "TIFF", "HEIC", "AVIF"])
def test_masks_of_other_formats(format: str) -> None:
    """Those of lossy formats are off at the edge by a pixel at most."""
    wrong = read(layer((10, 10, 10), (245, 245, 245)), format) != INSIDE
    assert not wrong.any() if format in ("GIF", "BMP", "TIFF") else wrong.mean() < 0.01


def test_a_brush_of_white_and_black_on_a_layer_marks_its_white() -> None:
    image = layer(CLEAR, BLACK, (4, 4, 60, 44))
    image.paste(WHITE, BOX)
    assert (read(image) == INSIDE).all()


def test_a_half_erased_photo_and_brushes_over_half_of_the_border() -> None:
    upper = np.zeros((48, 64), bool)
    upper[:24] = True
    photo = Image.fromarray(pixels(*SIZE)).convert("RGBA")
    photo.paste(CLEAR, (0, 0, 64, 24))
    assert (read(photo) == upper).all()
    assert (read(layer(CLEAR, WHITE, (0, 0, 64, 24))) == upper).all()
    assert (read(layer(BLACK, CLEAR, (0, 0, 64, 24))) == upper).all()


def test_soft_edges_are_cut_in_the_middle() -> None:
    image = Image.new("L", SIZE)
    for step in range(8):  # from 28 to 252 over 8 pixels
        ImageDraw.Draw(image).rectangle((10 + step, 10 + step, 53 - step, 37 - step), fill=28 + 32 * step)
    marked = read(image.convert("RGB"))
    assert marked[24].tolist() == [14 <= x <= 49 for x in range(64)]
    alpha = Image.new("RGBA", SIZE, "red")
    alpha.putalpha(image)
    assert (read(alpha)[24] == marked[24]).all()


@pytest.mark.parametrize(
    ("code", "image"),
    [
        ("empty_mask", layer((0, 0, 0), (0, 0, 0))),
        ("empty_mask", layer((0, 0, 0), (127, 127, 127))),
        ("empty_mask", layer((0, 0, 0), (255, 0, 0))),
        ("empty_mask", layer(CLEAR, CLEAR)),
        ("ambiguous_mask", layer(RED, CLEAR, (0, 0, 64, 24))),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(code: str, image: Image.Image) -> None:
    with pytest.raises(ImageError) as error:
        read(image)
    assert error.value.code == code


def test_black_and_white_with_a_hole_is_refused() -> None:
    image = layer(BLACK, WHITE)
    image.paste(CLEAR, (20, 16, 30, 26))
    with pytest.raises(ImageError, match="Send it without transparency"):
        read(image)


def test_a_mask_drawn_is_read_as_it_was() -> None:
    assert (read(drawn(INSIDE)) == INSIDE).all()
    assert set(np.unique(np.asarray(drawn(INSIDE)))) == {0, 255}


def test_the_middle_is_cut_out_in_the_shape_of_the_result() -> None:
    """Of 64 x 48 the middle 48 x 48, at half its size."""
    expected = np.zeros((24, 24), bool)
    expected[6:18, 4:20] = True
    assert (cut_out(INSIDE, 24, 24) == expected).all()
    edge = np.zeros((48, 64), bool)
    edge[:, :4] = True
    with pytest.raises(ImageError) as error:
        cut_out(edge, 24, 24)
    assert error.value.code == "empty_mask"


def test_a_fine_line_stays_when_a_mask_is_made_smaller() -> None:
    line = np.zeros((480, 640), bool)
    line[200, 100:500] = True
    assert cut_out(line, 64, 48)[20, 12:48].all()
    assert coverage(line, 64, 48).max() == 1


def test_coverage_is_the_share_of_each_pixel() -> None:
    marked = np.zeros((4, 8), bool)
    marked[:, 3:] = True
    assert np.allclose(coverage(marked, 4, 2), [0, 0.5, 1, 1], atol=1 / 255)
    assert (coverage(marked, 4, 2)[:, 0] == 0).all()
