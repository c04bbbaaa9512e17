"""Variations by the shipped model of faces, and by tiny models of the classes and files of the full-size ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from jobs.requests.kinds import parse
from models.catalogue import Card, card
from models.data.avatars import avatar
from models.diffusion.embedding import Kandinsky
from tests.models.diffusion.saved import NAMES, lay_out
from tests.worker.runners.conftest import trained_models
from tests.worker.runners.prompted import apart
from tests.worker.tasks import run_alone
from worker.run import JobResult, Pixels, Task

FACE = avatar(5, 11)[0]


@pytest.fixture
def weights_dir(tmp_path: Path) -> Iterator[Path]:
    with trained_models(tmp_path):
        yield tmp_path


def varied(found: Card, **more: Any) -> JobResult:
    asked = {"mode": "vary", "model": found.id, "image": f"img_{'1' * 64}", "seed": 3, **more}
    request: Any = parse("generation", asked)
    return run_alone(Task(request, lambda *progress: None, lambda image: FACE, lambda name: found, cast(Any, None)))


def images_of(made: JobResult) -> Pixels:
    return np.stack([image.pixels for image in made.images if image.role == "picture"])


def test_faces_vary_more_with_more_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Kandinsky.decode.__kwdefaults__ or {}, "num_inference_steps", 8)  # a third of the default
    found = card("kandinsky-avatars")
    made = varied(found, n=4)
    near, far = images_of(made), images_of(varied(found, n=4, noise_level=1.0))
    assert [image.seed for image in made.images] == [3, 4, 5, 6, None] and set(made.models) == {found.id}
    spread = [float(np.abs(images.astype(float) - images.mean(0)).mean()) for images in (near, far)]
    assert 1 < spread[0] < spread[1]
    assert apart(images_of(varied(found, n=1)), near[:1]) <= 12, "an image is its own seed's, up to rounding"
    distances = [np.abs(images.astype(float) - FACE).mean() for images in (near, far)]
    assert distances[0] < distances[1]


@pytest.mark.parametrize("name", NAMES)
def test_full_size_models_vary_images(name: str, weights_dir: Path) -> None:
    tiny = lay_out(name, weights_dir)
    images = images_of(varied(tiny, n=2))
    size = tiny.architecture["image_size"]
    assert images.shape == (2, size, size, 3) and apart(images[0], images[1]) > 0
    assert apart(images_of(varied(tiny, n=2, noise_level=0.9)), images) > 0
