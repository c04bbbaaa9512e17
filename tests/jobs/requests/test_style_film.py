from typing import Any, cast

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs.errors import BadInput
from jobs.requests.style_film import MAX_FILM_FRAMES, FilmTransfer
from jobs.requests.style_transfer import StyleTransfer
from jobs.schemas import FilmFile

PARAMS: TypeAdapter[Any] = TypeAdapter(StyleTransfer)
ZIP = "zip_" + "b" * 64


class Film:
    """Facts of an uploaded film."""

    def __init__(self, width: int, height: int, n_frames: int) -> None:
        self.found = FilmFile(format="gif", width=width, height=height, n_frames=n_frames)

    def film(self, sha: str, field: str) -> FilmFile:
        assert (sha, field) == ("b" * 64, "film")
        return self.found


def resolved(n: int, sides: tuple[int, int] = (640, 360), **more: Any) -> FilmTransfer:
    asked = PARAMS.validate_python({"mode": "film", "film": ZIP, "style": "builtin:3", **more})
    assert isinstance(asked, FilmTransfer)
    return asked.resolved(cast(Any, Film(*sides, n)))


def test_the_format_and_the_frames_are_those_of_the_film() -> None:
    found = resolved(48)
    assert (found.format, found.n_frames, found.queue) == ("gif", 48, "gpu")
    assert found.uses().archives == ("b" * 64,)
    assert PARAMS.validate_python(found.stored()) == found
    assert (resolved(48, format="mp4", n_frames=20).n_frames, resolved(48, n_frames=60).n_frames) == (20, 48)


@pytest.mark.parametrize(("size", "most"), [(64, MAX_FILM_FRAMES), (512, 455), (2048, 28)])
def test_more_frames_than_fit_are_refused(size: int, most: int) -> None:
    assert resolved(most, size=size).n_frames == most
    with pytest.raises(BadInput, match=f"film: {most + 1} frames; at {size} pixels a job takes {most}") as error:
        resolved(most + 1, size=size)
    assert (error.value.code, error.value.details["allowed"]) == ("too_many_frames", most)
    assert resolved(9999, size=size, n_frames=most).n_frames == most


def test_what_is_no_film_is_refused() -> None:
    for more in ({"film": "img_" + "a" * 64}, {"smoothing": 0.96}, {"format": "png"}, {"n_frames": 1}):
        with pytest.raises(ValidationError):
            resolved(9, **more)
    with pytest.raises(BadInput, match="the shorter side would have 13 pixels"):
        resolved(9, (600, 20))
