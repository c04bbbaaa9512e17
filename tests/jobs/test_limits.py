"""The limits of a key bound what one request asks for."""

import pytest
from pydantic import TypeAdapter, ValidationError

from api.style_transfers import CAT
from jobs.errors import BadInput
from jobs.limits import NO_LIMITS, Limits
from jobs.requests.base import Request
from jobs.requests.kinds import KINDS

GATYS = {"method": "gatys", "content": CAT, "style": CAT, "size": 128, "num_steps": 20, "priority": 3}
PAINTED = {"mode": "text-to-image", "model": "m-1", "prompt": "x", "width": 64, "height": 64}


def request(body: dict[str, object], kind: str = "style-transfer") -> Request:
    made: Request = TypeAdapter(KINDS[kind]).validate_python(body)
    return made


@pytest.mark.parametrize(
    ("limit", "field", "asked"), [("pixels", "size", 128**2), ("steps", "num_steps", 20), ("priority", "priority", 3)]
)
def test_a_request_may_ask_for_the_limit_and_no_more(limit: str, field: str, asked: int) -> None:
    params = request(GATYS)
    NO_LIMITS.check(params)
    Limits(**{limit: asked}).check(params)
    with pytest.raises(BadInput, match=f"limit of {limit} is {asked - 1}; the request has {asked}") as refused:
        Limits(**{limit: asked - 1}).check(params)
    assert refused.value.details == {"field": field, "limit": limit, "allowed": asked - 1}


def test_the_pixels_of_all_images_count() -> None:
    params = request(PAINTED | {"num_inference_steps": 7, "num_images_per_prompt": 4}, "generation")
    Limits(pixels=4 * 64**2, steps=7).check(params)
    with pytest.raises(BadInput, match="limit of pixels"):
        Limits(pixels=4 * 64**2 - 1).check(params)
    with pytest.raises(BadInput, match="limit of steps"):
        Limits(steps=6).check(params)


def test_a_limit_is_a_whole_number() -> None:
    assert Limits.model_validate({"steps": 7.0}).given() == {"steps": 7}
    for wrong in ({"steps": 0}, {"steps": "7"}, {"step": 7}):
        with pytest.raises(ValidationError):
            Limits.model_validate(wrong)
