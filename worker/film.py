"""Encodes animations with their recipe inside: WebP and GIF by Pillow, MP4 (H.264) by PyAV."""

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from itertools import accumulate, pairwise
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


def encode_film(
    frames: Pixels,
    format: AnimationFormat,
    timing: int | Sequence[int],
    *,
    loop: bool,
    recipe: dict[str, Any],
    sound: bytes | None = None,
) -> bytes:
    """Encodes frames (n, h, w, 3); equal arguments give equal bytes.

    timing: frames a second, or the milliseconds of each. loop: whether a WebP or a GIF repeats; an MP4 leaves that to
    its player, and its sides are even: an odd last row or column is repeated. A GIF counts hundredths of a second. A
    WebP keeps the recipe in EXIF UserComment, a GIF in its comment, an MP4 in the comment of its metadata. sound: an
    MP4 with the sound track of an MP4, which is copied.
    """
    if format == "mp4":
        return _mp4(frames, timing, recipe_text(recipe), sound)
    if format == "webp":
        images, unit = [Image.fromarray(frame) for frame in frames], 1
        options = {"quality": QUALITY, "method": 2, "exif": exif_of(recipe_text(recipe)), "loop": 0 if loop else 1}
    else:
        images, unit = _with_one_palette(frames), 10
        options = {"comment": recipe_text(recipe).encode()} | ({"loop": 0} if loop else {})
    file = BytesIO()
    ends = [1000 * k / timing for k in range(len(images) + 1)] if isinstance(timing, int) else [0, *accumulate(timing)]
    durations = _durations(ends, unit)
    images[0].save(file, format.upper(), save_all=True, append_images=images[1:], duration=durations, **options)
    return file.getvalue()


def _durations(ends: Sequence[float], unit: int) -> list[int]:
    """Milliseconds of each frame by their ends, whole units whose sums stay right, at least one each."""
    return [unit * max(1, end - start) for start, end in pairwise(round(end / unit) for end in ends)]


def _with_one_palette(frames: Pixels) -> list[Image.Image]:
    """Frames in the same 256 colors: palettes that differ from frame to frame flicker."""
    few = frames[:: max(1, len(frames) // 8)]
    palette = Image.fromarray(np.concatenate(list(few))).quantize(256, Image.Quantize.MEDIANCUT)
    return [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]


def even_sides(frames: Pixels) -> Pixels:
    """Frames (n, h, w, 3) as an MP4 has them: an odd last row or column is repeated."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _mp4(frames: Pixels, timing: int | Sequence[int], text: str, sound: bytes | None) -> bytes:
    frames = even_sides(frames)
    if isinstance(timing, int):
        rate, unit, starts = Fraction(timing), Fraction(1, timing), list(range(len(frames)))
    else:
        rate, unit = Fraction(1000 * len(timing), sum(timing)).limit_denominator(1001), Fraction(1, 1000)
        starts = [0, *accumulate(timing)][:-1]
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        container.metadata["comment"] = text
        stream = container.add_stream(
            "libx264", rate=rate, options={"crf": CRF, "threads": "1", "x264-params": NO_LOOKAHEAD}
        )
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.time_base = stream.codec_context.time_base = unit
        copies = _copied(container, sound) if sound else ()
        for start, frame in zip(starts, frames, strict=True):
            image = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
            image.pts, image.time_base = start, unit
            container.mux(stream.encode(image))
        container.mux(stream.encode())
        for packet in copies:
            container.mux(packet)
    return file.getvalue()


def _copied(container: av.container.OutputContainer, sound: bytes) -> list[Any]:
    """The packets of a sound track, for a new stream of the container."""
    with av.open(BytesIO(sound), "r", format="mp4") as source:
        track = source.streams.audio[0]
        stream = container.add_stream_from_template(track)
        packets = [packet for packet in source.demux(track) if packet.dts is not None]
        for packet in packets:
            packet.stream = stream
    return packets
