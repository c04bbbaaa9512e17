"""Reads masks drawn by luminance or by transparency as one array: True where the image changes."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from images.errors import ImageError

Marked = NDArray[np.bool_]  # (height, width), True where something changes

WHITE = 128  # the luminance, of 255, from which a mask is white
_OPAQUE = 240  # alpha that is nowhere lower comes from the rounding of a program, not from a drawing
_BORDER_SHARE = 0.75  # share of the border that must be opaque, or transparent, to distinguish a hole from a brush


def read_mask(image: Image.Image) -> Marked:
    """Reads a decoded mask: (height, width), True where it is white or, by transparency, where it is marked.

    With an opaque border, transparent holes are marked, as in OpenAI's API. With a transparent border, opaque strokes
    are marked; if they are black and white, only the white ones. With a border of both kinds, opaque white is marked if
    the mask is white, and the holes if it is black or a photo.

    Raises ImageError `empty_mask` where nothing is marked, and `ambiguous_mask` where alpha and luminance disagree.
    """
    luminance = np.asarray(image.convert("L"))
    if image.mode != "RGBA":
        return _white(luminance)
    alpha = np.asarray(image.getchannel("A"))
    low, high = int(alpha.min()), int(alpha.max())
    if low >= _OPAQUE:
        return _white(luminance)
    if high - low < 16:
        if high < 16:
            raise ImageError("empty_mask", "Nothing is painted on it: it is transparent everywhere.")
        return _white(luminance)
    return _by_alpha(image, luminance, (low + high + 1) // 2)


def cut_out(marked: Marked, width: int, height: int) -> Marked:
    """Crops a mask to the center in the shape of a result and resizes it; a pixel is marked if half of it was.

    Strokes too thin for that keep the pixels that they cover most. Raises ImageError `empty_mask` if only the part
    that is cropped was marked.
    """
    levels = np.asarray(ImageOps.fit(_as_image(marked), (width, height), Image.Resampling.BOX))
    if not levels.any():
        message = f"Nothing is marked in its middle, which is cut out in the shape of {width} x {height}."
        raise ImageError("empty_mask", message)
    return levels >= min(128, -(-int(levels.max()) // 2))


def coverage(marked: Marked, width: int, height: int) -> NDArray[np.float32]:
    """The share of each pixel that is marked, (height, width) in [0, 1], at another size; at least 0.5 somewhere."""
    levels = np.asarray(_as_image(marked).resize((width, height), Image.Resampling.BOX))
    most = int(levels.max())
    return levels.astype(np.float32) / np.float32(255 if most >= 128 else max(1, most))


def drawn(marked: Marked) -> Image.Image:
    """Draws a mask in black and white, RGB."""
    return _as_image(marked).convert("RGB")


def _as_image(marked: Marked) -> Image.Image:
    return Image.fromarray(marked.astype(np.uint8) * np.uint8(255))


def _white(luminance: NDArray[np.uint8]) -> Marked:
    if luminance.max() < WHITE:
        reason = f"No part of it is white: its luminance is at most {luminance.max()} of 255, and {WHITE} are needed"
        raise ImageError("empty_mask", f"{reason}. A mask is white on the part that counts.")
    return luminance >= WHITE


def _by_alpha(image: Image.Image, luminance: NDArray[np.uint8], threshold: int) -> Marked:
    """Reads a mask that has transparent and opaque parts."""
    visible: Marked = np.asarray(image.getchannel("A")) >= threshold
    edges = np.concatenate([visible[0], visible[-1], visible[:, 0], visible[:, -1]])
    paint = _paint(image, threshold)
    if edges.mean() >= _BORDER_SHARE:
        meaning = "unclear" if paint == "black and white" else "hole"
    elif edges.mean() <= 1 - _BORDER_SHARE:
        meaning = "white" if paint == "black and white" else "brush"
    else:
        meaning = {"white": "brush", "black": "hole", "photo": "hole"}.get(paint, "unclear")
    if meaning == "unclear":
        message = (
            "It has transparent parts beside parts in black and white, or a border that is half transparent: which "
        )
        raise ImageError("ambiguous_mask", message + "part changes is ambiguous. Send it without transparency.")
    return {"hole": ~visible, "brush": visible, "white": visible & (luminance >= WHITE)}[meaning]


def _paint(image: Image.Image, threshold: int) -> str:
    """Classifies the visible part: white, black, black and white, one color, or a photo."""
    small = image.resize([max(1, side * 256 // max(image.size)) for side in image.size], Image.Resampling.NEAREST)
    pixels = np.asarray(small if max(image.size) > 256 else image).reshape(-1, 4).astype(np.int16)
    rgb = pixels[pixels[:, 3] >= threshold, :3]
    gray = np.ptp(rgb, axis=1) <= 32
    white, black = (gray & (rgb.min(axis=1) >= 208)).mean(), (gray & (rgb.max(axis=1) <= 47)).mean()
    if white + black >= 0.95:
        return "white" if black < 0.02 else "black" if white < 0.02 else "black and white"
    flat = (np.abs(rgb - np.median(rgb, axis=0)).max(axis=1) <= 32).mean() >= 0.95
    return "one color" if flat else "photo"
