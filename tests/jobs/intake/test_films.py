from io import BytesIO

import pytest
from PIL import Image

from jobs.errors import BadInput
from jobs.intake.films import inspect_film
from tests.images import test_film


def animation(format: str, n: int = 3) -> BytesIO:
    frames = [Image.new("RGB", (40, 30), (80 * k, 20, 60)) for k in range(n)]
    file = BytesIO()
    frames[0].save(file, format, save_all=True, append_images=frames[1:], duration=50)
    return file


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_an_animation_is_known_by_its_headers(format: str) -> None:
    found = inspect_film(animation(format))
    assert found is not None
    assert (found.format, found.width, found.height, found.n_frames) == (format.lower(), 40, 30, 3)


def test_an_mp4_is_known_by_its_boxes() -> None:
    found = inspect_film(test_film.film(test_film.header()))
    assert found is not None and (found.format, found.width, found.n_frames) == ("mp4", 640, 7)


def test_other_files_are_left_to_others() -> None:
    for data in (b"", b"PK\3\4 a zip file", b"PAR1 a parquet file"):
        assert inspect_film(BytesIO(data)) is None


@pytest.mark.parametrize(
    "file", [animation("GIF", 1), animation("WEBP", 1), BytesIO(b"GIF89a"), BytesIO(b"\0\0\0\x10ftypisom" + bytes(40))]
)
def test_still_and_damaged_ones_are_refused(file: BytesIO) -> None:
    with pytest.raises(BadInput) as error:
        inspect_film(file)
    assert error.value.code == "film_unreadable"
