"""Style transfer in one pass through a network, by onnxruntime.

Built-in styles: Dumoulin, Shlens and Kudlur 2017, "A learned representation for artistic style". Style images: Ghiasi
et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization network".

Images are float32 arrays (h, w, 3) in [0, 1], as are the results, which have the size of their content.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from models.catalogue import WEIGHTS_DIR, Card, checked_file
from models.errors import WeightsError
from models.pixels import center_box
from models.sessions import open_session

BUILTIN_STYLES = 26
MULTISTYLE = "multistyle26.onnx"
TRAINED = "model.safetensors"
MIN_FAST_SIDE = 32
PREDICT_SIDE = 256  # the only input size of the style prediction network
STYLE_DIM = 100  # numbers of a style embedding
TILE = 384  # the only input size of the style transfer network
OVERLAP = 128  # the least overlap of neighboring tiles, over which they are blended
LOWPASS = 32  # details of fewer pixels come from the tiles, larger features from the whole image
BUILTIN_TILE = 1024  # the network of the built-in styles takes any size, at 0.6 kB per pixel
BUILTIN_LOWPASS = 256  # its tiles differ more in tint than in detail; a smaller value would blur its strong colors

Array = np.ndarray[Any, np.dtype[np.float32]]
Painter = Callable[[Array], Array]  # stylizes an image of at most one tile


@dataclass(frozen=True)
class ArbitraryNet:
    """The style prediction network and the style transfer network, as sessions."""

    predict: onnxruntime.InferenceSession
    transform: onnxruntime.InferenceSession


def load_multistyle(weights_dir: Path = WEIGHTS_DIR) -> onnxruntime.InferenceSession:
    """Loads the network of card `fast-multistyle`. Raises WeightsError for a missing or different file."""
    return open_session("fast-multistyle", MULTISTYLE, weights_dir)


def load_trained(card: Card, weights_dir: Path = WEIGHTS_DIR) -> onnxruntime.InferenceSession:
    """Loads a trained network of one style, which fills every style of the graph of card `fast-multistyle`.

    Raises WeightsError for a missing, a different and an unusable file.
    """
    try:
        weights = load_file(checked_file(card, TRAINED, weights_dir))
        return open_session("fast-multistyle", MULTISTYLE, weights_dir, weights)
    except (SafetensorError, ValueError) as error:
        raise WeightsError(card.id, f"Model {card.id} cannot be loaded: {error}.") from error


def load_arbitrary(weights_dir: Path = WEIGHTS_DIR) -> ArbitraryNet:
    """Loads the networks of card `fast-arbitrary`. Raises WeightsError for missing or different files."""
    return ArbitraryNet(
        predict=open_session("fast-arbitrary", "arbitrary_predict.onnx", weights_dir),
        transform=open_session("fast-arbitrary", "arbitrary_transform.onnx", weights_dir),
    )


def stylize_builtin(
    net: onnxruntime.InferenceSession, content: Array, weights: Sequence[float] | Array, strength: float = 1.0
) -> Array:
    """Stylizes `content` (h, w, 3) with a blend of the built-in styles.

    weights: (26,), at least 0 with a sum above 0; a blend is the weighted mean of the styles' normalization parameters.
    strength: 0 (the photo) to 1 (the style), by linear interpolation of the two images. Raises ValueError.
    """
    shares = np.asarray(weights, np.float32)
    if shares.shape != (BUILTIN_STYLES,) or not (shares >= 0).all() or not 0 < shares.sum() < np.inf:
        raise ValueError(f"weights must be {BUILTIN_STYLES} numbers of at least 0 with a sum above 0")
    _check(content, strength)

    def paint(image: Array) -> Array:
        height, width, _ = image.shape
        # The network halves its input twice, so its output sides are multiples of 4.
        padded = np.pad(image, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="reflect")
        feed = {"image": padded.transpose(2, 0, 1)[None], "style_weights": shares / shares.sum()}
        painted: Array = net.run(None, feed)[0][0].transpose(1, 2, 0)[:height, :width]
        return painted

    return _clipped(content + strength * (_painted(content, paint, BUILTIN_TILE, BUILTIN_LOWPASS) - content))


def stylize_images(
    net: ArbitraryNet, content: Array, styles: Sequence[tuple[Array, float]], strength: float = 1.0
) -> Array:
    """Stylizes `content` (h, w, 3) with style images and their weights.

    The style embeddings, 100 numbers each, are averaged by weight; an image may be given as its embedding. strength: 0
    (the content's own embedding) to 1 (that of the styles), by linear interpolation of them. Raises ValueError.
    """
    if not styles or any(not share > 0 for _, share in styles):
        raise ValueError("styles must be one or more pairs of an image and a share above 0")
    _check(content, strength)
    total = sum(share for _, share in styles)
    target = np.zeros(1, np.float32)
    for image, share in styles:
        target = target + np.float32(share / total) * (image if image.ndim == 1 else style_vector(net, image))
    own = style_vector(net, content) if strength < 1 else target
    return stylize_vector(net, content, own + np.float32(strength) * (target - own))


def stylize_vector(net: ArbitraryNet, content: Array, vector: Array) -> Array:
    """Stylizes `content` (h, w, 3) with a style embedding (100,)."""
    content_name, style_name = (node.name for node in net.transform.get_inputs())
    bottleneck = vector.reshape(1, 1, 1, STYLE_DIM)

    def paint(image: Array) -> Array:
        height, width, _ = image.shape
        padded = np.pad(image, ((0, TILE - height), (0, TILE - width), (0, 0)), mode="reflect")
        painted: Array = net.transform.run(None, {content_name: padded[None], style_name: bottleneck})[0][0]
        return painted[:height, :width]

    return _painted(content, paint, TILE, LOWPASS)


def style_vector(net: ArbitraryNet, image: Array) -> Array:
    """Predicts the style embedding (100,) of the center square of an image (h, w, 3)."""
    left, top, right, bottom = center_box(image.shape[1], image.shape[0])
    square = _resized(image[top:bottom, left:right], (PREDICT_SIDE, PREDICT_SIDE))
    bottleneck: Array = net.predict.run(None, {"style_image": square[None]})[0]
    return bottleneck.reshape(STYLE_DIM)


def _painted(content: Array, paint: Painter, tile: int, lowpass: int) -> Array:
    """Stylizes an image of any size, at most `tile` x `tile` pixels at a time.

    The whole image is stylized once, reduced to that size. A larger image is also stylized in overlapping tiles at full
    size, for detail. Each tile is normalized by its own statistics and therefore has its own tint, so large features
    and colors are taken from the whole: tiles + lowpass(whole - tiles). Only details of fewer than `lowpass`
    pixels come from the tiles.
    """
    height, width, _ = content.shape
    size = height, width
    scale = min(1.0, tile / max(size))
    small = _resized(content, (max(1, round(height * scale)), max(1, round(width * scale))))
    whole = _clipped(_resized(paint(small), size))
    if max(size) <= tile:
        return whole
    tiles = _painted_tiles(content, paint, tile)
    return _clipped(tiles + _lowpass(whole - tiles, lowpass))


def _painted_tiles(content: Array, paint: Painter, tile: int) -> Array:
    height, width, _ = content.shape
    painted, weight = np.zeros_like(content), np.zeros((height, width, 1), np.float32)
    fade = _fade(tile)
    for top in _starts(height, tile):
        for left in _starts(width, tile):
            region = np.s_[top : top + tile, left : left + tile]
            part = paint(content[region])
            share = fade[: part.shape[0], : part.shape[1]]
            painted[region] += share * part
            weight[region] += share
    return _float32(painted / weight)


def _starts(side: int, tile: int) -> list[int]:
    """Offsets of tiles that cover a side and overlap by at least `OVERLAP`."""
    if side <= tile:
        return [0]
    count = 1 + -(-(side - tile) // (tile - OVERLAP))
    return [round(i * (side - tile) / (count - 1)) for i in range(count)]


def _fade(tile: int) -> Array:
    """Weight of a tile in the blend, (tile, tile, 1): 1 in the center, almost 0 at the borders."""
    ramp = np.minimum(np.arange(tile) + 0.5, tile - 0.5 - np.arange(tile)) / OVERLAP
    smooth = np.sin(np.minimum(ramp, 1) * np.pi / 2) ** 2
    return _float32((smooth[:, None] * smooth)[..., None])


def _lowpass(image: Array, pixels: int) -> Array:
    height, width, _ = image.shape
    return _resized(_resized(image, (-(-height // pixels), -(-width // pixels))), (height, width))


def _resized(image: Array, size: tuple[int, int]) -> Array:
    """Resizes an image to (height, width) with PIL's Lanczos filter, in float32."""
    if image.shape[:2] == size:
        return image
    planes = [Image.fromarray(np.ascontiguousarray(image[..., i])) for i in range(3)]
    resized = [np.asarray(plane.resize((size[1], size[0]), Image.Resampling.LANCZOS)) for plane in planes]
    return np.stack(resized, axis=-1)


def _clipped(image: np.ndarray) -> Array:
    return _float32(image.clip(0, 1))


def _float32(image: np.ndarray) -> Array:
    return image.astype(np.float32, copy=False)


def _check(content: Array, strength: float) -> None:
    is_image = content.ndim == 3 and content.shape[2] == 3 and content.dtype == np.float32
    if not is_image or min(content.shape[:2]) < MIN_FAST_SIDE:
        message = f"content must be float32 (h, w, 3) with sides of at least {MIN_FAST_SIDE}, not {content.shape}"
        raise ValueError(message)
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be from 0 to 1, not {strength}")
