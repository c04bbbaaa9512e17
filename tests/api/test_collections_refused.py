"""Collections that are refused, with the field and what is allowed."""

from io import BytesIO
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from tests.api import collecting
from tests.api.collecting import DIGITS, IMAGES, error, post
from tests.api.conftest import field_and_rule, image_file, stored
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


PICKLED = np.array([{}, {}], object)
VECTORS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "no vectors": (
        {"x": np.zeros((4, 2))},
        "any",
        "vectors_unusable",
        "vectors: The file has no array `vectors`; it has x.",
    ),
    "pickled": (
        {"vectors": PICKLED},
        *("any", "vectors_unusable", "vectors: `vectors` must hold numbers, not object."),
    ),
    "pickled ids": (
        {"vectors": np.zeros((2, 2)), "ids": PICKLED},
        *("any", "vectors_unusable", "vectors: `ids` must hold texts or numbers, not object."),
    ),
    "too few rows": (
        {"vectors": np.zeros((1, 2))},
        *("any", "vectors_unusable", "vectors: There are 1 vectors; there must be 2 to 100,000."),
    ),
    "too many rows": (
        {"vectors": np.zeros((100_001, 2), np.float16)},
        *("any", "vectors_unusable", "vectors: There are 100,001 vectors; there must be 2 to 100,000."),
    ),
    "too many values": (
        {"vectors": np.zeros((2, 8_193))},
        *("any", "vectors_unusable", "vectors: The vectors have 8,193 values; they must have 2 to 8,192."),
    ),
    "the space of styles": (
        {"vectors": np.zeros((4, 3))},
        *("style", "vector_mismatch", "vectors: They have 3 values; those of the space style have 100."),
    ),
    "the space of a model": (
        {"vectors": np.zeros((4, 3))},
        *("vae-faces", "vector_mismatch", "vectors: They have 3 values; those of the space vae-faces have 32."),
    ),
    "images": ({}, "any", "vectors_unusable", "vectors: The archive holds neither a parquet nor an npz file."),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_file_of_vectors_is_refused_before_work_is_queued(stack: Stack, name: str) -> None:
    arrays, space, code, message = VECTORS[name]
    vectors = stack.client.post("/v1/archives", files={"file": archive_of(arrays)}).json()["id"]
    before = stored(stack), stack.client.get("/v1/collections").json()
    answer = post(stack, name="Own", space=space, vectors=vectors)
    assert error(answer) == (422, code, message)
    assert answer.json()["error"]["details"]["field"] == "vectors"
    assert (stored(stack), stack.client.get("/v1/collections").json()) == before


def archive_of(arrays: dict[str, Any]) -> bytes:
    """An npz file; a zip file with an image if there are no arrays."""
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    if not arrays:
        with ZipFile(file, "w") as archive:
            archive.writestr("a.png", image_file())
    return file.getvalue()


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_field_and_what_is_allowed(stack: Stack, name: str) -> None:
    changed, status, code, message = REFUSED[name]
    before = stored(stack), stack.client.get("/v1/collections").json()
    answer = post(stack, **DIGITS | changed)
    found = error(answer)
    assert found[:2] == (status, code) and found[2].startswith(message), found[2]
    assert answer.json()["error"]["details"]["field"] == field_and_rule(message)[0]
    assert (stored(stack), stack.client.get("/v1/collections").json()) == before
