"""The space of styles: an image is the style embedding that is predicted from it, and paints any content.

Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization network": both
networks are those that serve style transfers with a style image, see `models.stylize.fast`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from models.stylize.fast import PREDICT_SIDE, STYLE_DIM, ArbitraryNet, style_vector, stylize_vector

PHOTO = Path(__file__).parent / "photos" / "chelsea.jpg"  # painted where no other content is given
# Distance of a style embedding from that of the image painted with it, above which little of the content stays visible:
# the network was led beyond the styles that it paints (`python -m bench.style_space`).
MAX_STYLE_ERROR = 4.0
# Share of the content's structure that an image keeps, below which strokes cover it (`python -m bench.style_space`).
MIN_CONTENT_KEPT = 0.25
# Longest side at which structure is compared, and standard deviation of its windows, in pixels: wider than a stroke.
COMPARED_SIDE, WINDOW = 256, 5.0
PLAIN = 0.01  # spread of gray values: a window with less has no structure
AT_ONCE = 2  # images: one is padded and scaled while the network paints the other, `python -m bench.style_space`

Array = NDArray[np.float32]


@dataclass(frozen=True)
class StyleSpace:
    """The space of style embeddings and the content (h, w, 3) in [0, 1] that they paint."""

    net: ArbitraryNet
    content: Array

    @property
    def image_size(self) -> int:
        """Side in pixels of images to encode; decoded images have the size of the content."""
        return PREDICT_SIDE

    @property
    def channels(self) -> int:
        """Always 3."""
        return 3

    @property
    def dim(self) -> int:
        """Numbers of a style embedding."""
        return STYLE_DIM

    def encode(self, images: Tensor) -> Tensor:
        """Predicts the style embedding of the center square of each image."""
        vectors = [style_vector(self.net, image) for image in images.permute(0, 2, 3, 1).float().cpu().numpy()]
        return torch.from_numpy(np.stack(vectors))

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: Callable[[], None] = lambda: None) -> Tensor:
        """Paints the content in each style, (n, 3, h, w); `on_step` is called after each image."""
        painted = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for image in pool.map(partial(stylize_vector, self.net, self.content), vectors.float().cpu().numpy()):
                    painted.append(image)
                    on_step()
            finally:
                pool.shutdown(cancel_futures=True)  # `on_step` may raise
        return torch.from_numpy(np.stack(painted)).permute(0, 3, 1, 2)


def content_kept(content: Array, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The share of the structure of a content (h, w, 3) in [0, 1] that images (n, h, w, 3) painted of it keep, (n,).

    Correlation of gray values in Gaussian windows (Wang et al. 2004, "Image quality assessment: from error visibility
    to structural similarity", eq. 10), of either sign, as a style may invert them; windows count by the content's
    contrast. 1 for a plain content.
    """
    original = _gray(content)
    weights = np.sqrt(_covariance(original, original))
    if weights.mean() < PLAIN:
        return np.ones(len(images))
    kept = []
    for image in images:
        painted = _gray(image / np.float32(255))
        spreads = np.sqrt((_covariance(painted, painted) + PLAIN**2) * (weights**2 + PLAIN**2))
        kept.append(np.average(np.abs(_covariance(original, painted) / spreads), weights=weights))
    return np.array(kept)


def _gray(image: Array) -> Array:
    """Gray values of an image (h, w, 3), made smaller to `COMPARED_SIDE` at most."""
    smaller = Image.fromarray((image @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32))
    smaller.thumbnail((COMPARED_SIDE, COMPARED_SIDE), Image.Resampling.BOX)
    return np.asarray(smaller, np.float32)


def _covariance(a: Array, b: Array) -> Array:
    """Covariance of two gray images (h, w) in a Gaussian window around each pixel; of one with itself at least 0."""
    mean_a, mean_b, mean = (gaussian_filter(each, WINDOW) for each in (a, b, a * b))
    covariance: Array = mean - mean_a * mean_b
    return covariance.clip(0) if a is b else covariance


@cache
def default_photo() -> NDArray[np.uint8]:
    """The shipped photo (h, w, 3); not to be written to."""
    with Image.open(PHOTO) as image:
        photo = np.asarray(image.convert("RGB"))
    photo.flags.writeable = False
    return photo
