from typing import Any, cast

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs.errors import BadInput
from jobs.requests.style_many import MAX_MANY, ManyTransfers
from jobs.requests.style_transfer import StyleTransfer

PARAMS: TypeAdapter[Any] = TypeAdapter(StyleTransfer)
A, ZIP = "img_" + "a" * 64, "zip_" + "b" * 64


class Files:
    """Facts of an archive of so many files."""

    def __init__(self, n: int) -> None:
        self.n = n

    def check_archive(self, sha: str, field: str) -> int:
        assert (sha, field) == ("b" * 64, "contents")
        return self.n


def parsed(**more: Any) -> ManyTransfers:
    found = PARAMS.validate_python({"mode": "many", "style": "builtin:starry-blue", **more})
    assert isinstance(found, ManyTransfers)
    return found


def resolved(n: int = 0, **more: Any) -> ManyTransfers:
    return parsed(**more).resolved(cast(Any, Files(n)))


def test_a_list_and_an_archive_are_counted() -> None:
    assert resolved(contents=[A] * 3).n == 3
    assert resolved(9, contents=ZIP).n == 9
    assert (resolved(9, contents=ZIP, limit=4).n, resolved(contents=[A], limit=4).n) == (4, 1)
    assert resolved(9, contents=ZIP).uses().archives == ("b" * 64,)
    asked = resolved(contents=[A, A])
    assert asked.image_refs() == {"contents.0": A, "contents.1": A}
    assert PARAMS.validate_python(asked.stored()) == asked


@pytest.mark.parametrize(("size", "most"), [(512, MAX_MANY), (1024, 64), (2048, 16)])
def test_more_images_than_fit_are_refused(size: int, most: int) -> None:
    assert resolved(most, contents=ZIP, size=size).n == most
    with pytest.raises(BadInput, match=f"contents: {most + 1} images; a job takes {most} of {size} pixels") as error:
        resolved(most + 1, contents=ZIP, size=size)
    assert (error.value.code, error.value.details["field"]) == ("too_many_images", "contents")
    assert resolved(5000, contents=ZIP, size=size, limit=most).n == most


@pytest.mark.parametrize(
    "more",
    [
        *({"contents": value} for value in ([], "builtin:1", A, [ZIP], 3, [A] * (MAX_MANY + 1))),
        *({"contents": [A], **more} for more in ({"method": "gatys"}, {"limit": 0})),
        {},
    ],
)
def test_what_is_no_list_of_images_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parsed(**more)


def test_an_image_that_is_too_narrow_is_named() -> None:
    with pytest.raises(BadInput, match=r"contents\.1: At 512 the shorter side would have 26 pixels"):
        parsed(contents=[A, A]).check_sizes({"contents.0": (640, 480), "contents.1": (1000, 50)})
