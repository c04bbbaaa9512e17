"""Encodes animations with their recipe inside: WebP and GIF by Pillow, MP4 (H.264) by PyAV."""

from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from typing import Any

import av
import numpy as np
from PIL import Image

from jobs.images import exif_of, recipe_text
from jobs.schemas import AnimationFormat
from worker.run import Pixels

QUALITY = 90  # of WebP
NO_LOOKAHEAD = "mbtree=0:rc-lookahead=0:sync-lookahead=0"  # its thread makes other bytes in some runs
CRF = "18"  # of H.264: about the quality at which the eye sees no loss


def encode_film(frames: Pixels, format: AnimationFormat, fps: int, *, loop: bool, recipe: dict[str, Any]) -> bytes:
    """Encodes frames (n, h, w, 3), shown `fps` a second; equal arguments give equal bytes.

    loop: whether a WebP or a GIF repeats; an MP4 leaves that to its player, and its sides are even: an odd last row or
    column is repeated. A GIF counts hundredths of a second. A WebP keeps the recipe in EXIF UserComment, a GIF in its
    comment, an MP4 in the comment of its metadata.
    """
    if format == "mp4":
        return _mp4(frames, fps, recipe_text(recipe))
    if format == "webp":
        images, unit = [Image.fromarray(frame) for frame in frames], 1
        options = {"quality": QUALITY, "method": 2, "exif": exif_of(recipe_text(recipe)), "loop": 0 if loop else 1}
    else:
        images, unit = _with_one_palette(frames), 10
        options = {"comment": recipe_text(recipe).encode()} | ({"loop": 0} if loop else {})
    file = BytesIO()
    durations = _durations(len(images), fps, unit)
    images[0].save(file, format.upper(), save_all=True, append_images=images[1:], duration=durations, **options)
    return file.getvalue()


def _durations(n: int, fps: int, unit: int) -> list[int]:
    """Milliseconds of each frame, whole units whose sums stay right, at least one each."""
    ends = [round(1000 * k / fps / unit) for k in range(n + 1)]
    return [unit * max(1, end - start) for start, end in pairwise(ends)]


def _with_one_palette(frames: Pixels) -> list[Image.Image]:
    """Frames in the same 256 colors: palettes that differ from frame to frame flicker."""
    few = frames[:: max(1, len(frames) // 8)]
    palette = Image.fromarray(np.concatenate(list(few))).quantize(256, Image.Quantize.MEDIANCUT)
    return [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]


def even_sides(frames: Pixels) -> Pixels:
    """Frames (n, h, w, 3) as an MP4 has them: an odd last row or column is repeated."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _mp4(frames: Pixels, fps: int, text: str) -> bytes:
    frames = even_sides(frames)
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        container.metadata["comment"] = text
        stream = container.add_stream(
            "libx264", rate=fps, options={"crf": CRF, "threads": "1", "x264-params": NO_LOOKAHEAD}
        )
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.time_base = Fraction(1, fps)
        for k, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
            image.pts, image.time_base = k, Fraction(1, fps)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return file.getvalue()
