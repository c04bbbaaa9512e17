"""Reads films: animated GIF and WebP by Pillow, MP4 by PyAV, frame after frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageSequence

from images.decode import over_white
from worker.run import Pixels

STILL_MS = 100  # of a frame whose duration a file does not say, or says to be 0, as players show it
Timed = tuple[Pixels, int]  # a frame, and its milliseconds


class FilmError(ValueError):
    """A film that cannot be read; the message says why."""


@dataclass(frozen=True)
class Film:
    """An open film: its frames, whether it repeats, and the file of an MP4."""

    frames: Iterator[Timed]
    loops: bool
    path: Path | None = None

    def sound(self, milliseconds: int) -> bytes | None:
        """The first sound track up to a time, as it is in the film, in an MP4 of its own; None where there is none."""
        if self.path is None:
            return None
        file = BytesIO()
        with av.open(str(self.path), format="mp4") as source:
            if not source.streams.audio:
                return None
            track = source.streams.audio[0]
            with av.open(file, "w", format="mp4") as copy:
                stream = copy.add_stream_from_template(track)
                for packet in source.demux(track):
                    if packet.dts is not None and packet.dts * 1000 * (track.time_base or 1) < milliseconds:
                        packet.stream = stream
                        copy.mux(packet)
        return file.getvalue()


@contextmanager
def open_film(path: Path, max_pixels: int) -> Iterator[Film]:
    """Opens a film; raises FilmError, also while its frames are read."""
    with path.open("rb") as file:
        head = file.read(12)
    try:
        if head[4:8] == b"ftyp":
            with av.open(str(path), format="mp4") as container:
                yield Film(_video_frames(container, max_pixels), False, path)
        else:
            with Image.open(path, formats=("GIF", "WEBP")) as image:
                yield Film(_image_frames(image), image.info.get("loop", 1) == 0)
    except FilmError:
        raise
    except (av.FFmpegError, OSError, SyntaxError, ValueError, IndexError) as error:
        raise FilmError("the film is damaged or of an unknown kind") from error


def _image_frames(image: Image.Image) -> Iterator[Timed]:
    for frame in ImageSequence.Iterator(image):
        pixels = np.asarray(over_white(frame.convert("RGBA")))  # a WebP says how long once it is decoded
        yield pixels, round(frame.info.get("duration", 0)) or STILL_MS


def _video_frames(container: av.container.InputContainer, max_pixels: int) -> Iterator[Timed]:
    """Frames and their times; the last one lasts as long as the one before."""
    stream = container.streams.video[0]
    context = stream.codec_context
    if context.width * context.height > max_pixels:
        raise FilmError(f"its frames have more than {max_pixels} pixels")
    rate = float(stream.average_rate or 25)
    shown = 0
    waiting: tuple[Pixels, int] | None = None
    first: float | None = None
    for frame in container.decode(stream):
        seconds = float(frame.time or 0.0)
        first = seconds if first is None else first
        start = round(1000 * (seconds - first))
        if waiting is not None:
            duration = max(1, start - shown)
            yield waiting[0], duration
            shown += duration
        waiting = _upright(frame), start
    if waiting is not None:
        yield waiting[0], max(1, round(1000 / rate))


def _upright(frame: av.VideoFrame) -> Pixels:
    pixels: Any = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90)) if frame.rotation else pixels
