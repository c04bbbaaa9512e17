from typing import Any

import pytest
from pydantic import ValidationError

from jobs.requests.architectures import ARCHITECTURES
from jobs.requests.kinds import parse
from models.catalogue import cards

A = "img_" + "a" * 64
LEAST: dict[str, Any] = {"mode": "vary", "model": "kandinsky-avatars", "image": A}


@pytest.mark.parametrize("body", [{"n": 0}, {"n": 17}, {"noise_level": 1.5}, {"noise_level": -0.1}, {"image": None}])
def test_what_cannot_be_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        parse("generation", LEAST | body)
    assert error.value.errors()[0]["loc"][-1] in body


def test_models_that_decode_image_embeddings_vary_images() -> None:
    request = parse("generation", LEAST)
    assert request.queue == "gpu" and request.image_refs() == {"image": A}
    able = [name for name, known in ARCHITECTURES.items() if "vary" in known.modes]
    assert able == ["kandinsky", "kandinsky-2.2", "stable-unclip", "ip-adapter"]
    assert {card.id for card in cards().values() if card.architecture.get("name") == "kandinsky"} == {
        "kandinsky-avatars",
        "kandinsky-flowers",
    }
