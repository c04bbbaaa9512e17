"""Collections that are refused, with the field and what is allowed."""

from typing import Any

import pytest

from tests.api import collecting
from tests.api.collecting import DIGITS, IMAGES, error, post
from tests.api.conftest import field_and_rule, stored
from tests.stack import Stack

stack = collecting.stack  # a fixture

SPACES = "pixels, style, photo, dcgan-faces, vae-2, vae-faces"

NONE = "zip_" + "0" * 64
FREE = {"space": "clip-vit-l-14", "image_size": None, "channels": None, "data": None, "limit": None}

REFUSED: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no images": ({"data": None}, 422, "invalid_request", "images: Give `images`, `data` or `vectors`."),
    "two sources": ({"images": IMAGES}, 422, "invalid_request", "data: Give `images` or `data`, not both."),
    "no archive": ({"data": "zip_" + "0" * 64}, 404, "archive_not_found", "data: No archive zip_0"),
    "vectors that are not there": ({"vectors": NONE, **FREE}, 404, "archive_not_found", "vectors: No archive zip_0"),
    "vectors and a named set": (
        {**FREE, "vectors": NONE, "data": "digits"},
        *(422, "invalid_request", "data: With `vectors` it is an archive with their images."),
    ),
    "vectors and images": (
        {**FREE, "vectors": NONE, "images": IMAGES},
        *(422, "invalid_request", "vectors: Give `images` or `vectors`, not both."),
    ),
    "vectors of pixels": (
        {"vectors": NONE, "data": None, "limit": None},
        *(422, "invalid_request", "space: pixels is made of images; give `vectors` another space."),
    ),
    "no image": (
        {"data": None, "images": [*IMAGES, "img_" + "0" * 64]},
        *(404, "image_not_found", "images.4: No image img_0"),
    ),
    "no name": ({"name": None}, 422, "invalid_request", "`name` must be a valid string."),
    "no model": (
        {"space": "vae-9", "image_size": None, "channels": None},
        *(422, "unknown_model", f"space: No model with an encoder is called 'vae-9'; there are {SPACES}."),
    ),
    "no encoder": (
        {"space": "gan-8", "image_size": None, "channels": None},
        *(422, "unknown_model", f"space: No model with an encoder is called 'gan-8'; there are {SPACES}."),
    ),
    "a size for a model": (
        {"space": "vae-2"},
        *(422, "invalid_request", "image_size: vae-2 has its own; only space pixels takes it."),
    ),
    "two numbers": (
        {"clusterings": [{"n_clusters": 3, "max_clusters": 4}]},
        *(422, "invalid_request", "clusterings.0.max_clusters: `n_clusters` gives the number, so none is chosen."),
    ),
    "no method": (
        {"clusterings": [{"method": "optics"}]},
        *(422, "invalid_request", "`clusterings.0` must have a `method`: 'kmeans', 'mixture', 'agglomerative'"),
    ),
    "other method's field": (
        {"clusterings": [{"method": "hdbscan", "n_clusters": 3}]},
        *(422, "invalid_request", "`clusterings.0.n_clusters` is not a field of this request"),
    ),
    "method twice": (
        {"clusterings": [{}, {"n_clusters": 3}]},
        *(422, "invalid_request", "clusterings: Each method may be named once."),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_field_and_what_is_allowed(stack: Stack, name: str) -> None:
    changed, status, code, message = REFUSED[name]
    before = stored(stack), stack.client.get("/v1/collections").json()
    answer = post(stack, **DIGITS | changed)
    found = error(answer)
    assert found[:2] == (status, code) and found[2].startswith(message), found[2]
    assert answer.json()["error"]["details"]["field"] == field_and_rule(message)[0]
    assert (stored(stack), stack.client.get("/v1/collections").json()) == before
