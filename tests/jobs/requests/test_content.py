"""The content image of steerings and samplings: which spaces paint one, and how large the images may be."""

from typing import Any

import pytest

from jobs.errors import BadInput
from jobs.requests.steering import ClusterSampling, Steering

COLLECTION, IMAGE = "col_" + "0" * 24, f"img_{1:064x}"
NO_FACTS: Any = None  # a named space needs none


def steering(**fields: Any) -> Steering:
    return Steering(collection=COLLECTION, components=[{"component": 0}], **fields)


def test_a_space_of_styles_gets_a_size_and_keeps_the_content() -> None:
    plain = steering().painting(NO_FACTS, "style", 7)
    assert (plain.content, plain.size) == (None, 384)
    given = steering(content=IMAGE, size=512, start="photo").painting(NO_FACTS, "style", 7)
    assert (given.content, given.size, given.start) == (IMAGE, 512, "photo")
    assert given.image_refs() == {"content": IMAGE}, "not the word 'photo'"


def test_other_spaces_stay_as_they_are() -> None:
    assert steering().painting(NO_FACTS, "pixels", 7).size is None


@pytest.mark.parametrize(
    ("fields", "field"), [({"content": IMAGE}, "content"), ({"size": 384}, "size"), ({"start": "photo"}, "start")]
)
def test_other_spaces_take_no_content(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=f"^{field}: The space pixels paints no content image; style does") as caught:
        steering(**fields).painting(NO_FACTS, "pixels", 7)
    assert (caught.value.code, caught.value.details["field"]) == ("no_content", field)


def test_all_images_together_are_bounded() -> None:
    sampling = ClusterSampling(collection=COLLECTION, size=1024)
    assert sampling.painting(NO_FACTS, "style", 64).size == 1024
    with pytest.raises(BadInput, match="size: 256 images may have a size of at most 512") as caught:
        sampling.painting(NO_FACTS, "style", 256)
    assert caught.value.code == "too_many_pixels"


def test_a_narrow_content_is_refused() -> None:
    sampling = ClusterSampling(collection=COLLECTION, content=IMAGE, size=64)
    sampling.check_sizes({"content": (100, 50)})
    with pytest.raises(BadInput, match="shorter side"):
        sampling.check_sizes({"content": (100, 20)})
