"""Animation files, read again by Pillow and PyAV."""

import json
from io import BytesIO
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from jobs.images import read_recipe
from jobs.schemas import AnimationFormat
from worker.film import encode_film
from worker.run import Pixels

RECIPE: dict[str, Any] = {"kind": "pc-animation", "params": {"seed": 5, "text": "für “alle”"}}


def film(n: int, height: int = 48, width: int = 64) -> Pixels:
    """A bright square on a gradient, which moves to the right, and rests in the last two frames."""
    ramp = np.linspace(40, 160, width).astype(np.uint8)
    frames = np.repeat(np.broadcast_to(ramp, (n, height, width))[..., None], 3, axis=3).copy()
    for k, frame in enumerate(frames):
        at = 4 * min(k, n - 2)
        frame[8:20, at : at + 12] = (250, 120, 30)
    return frames


def read(data: bytes) -> tuple[NDArray[np.uint8], list[int], Any]:
    """Frames, milliseconds of each, and the loop flag of a WebP or a GIF."""
    with Image.open(BytesIO(data)) as image:
        loop = image.info.get("loop")
        each = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
    return np.stack([frame for frame, _ in each]), [int(duration) for _, duration in each], loop


@pytest.mark.parametrize("format", ["webp", "gif"])
def test_an_image_file_has_the_frames_times_and_recipe(format: AnimationFormat) -> None:
    frames = film(9)
    data = encode_film(frames, format, 8, loop=True, recipe=RECIPE)
    found, durations, loop = read(data)
    assert durations == {"webp": [125] * 7 + [250], "gif": [120, 130, 130, 120, 120, 130, 130, 240]}[format]
    assert loop == 0
    assert len(found) == 8, "the last two are the same, and so one frame of twice the time"
    assert np.abs(found.astype(int) - frames[:8]).mean() < 2
    assert read_recipe(data) == RECIPE
    assert encode_film(frames, format, 8, loop=True, recipe=RECIPE) == data


def test_a_film_that_does_not_loop_plays_once() -> None:
    assert read(encode_film(film(4), "webp", 10, loop=False, recipe={}))[2] == 1
    assert read(encode_film(film(4), "gif", 10, loop=False, recipe={}))[2] is None


@pytest.mark.parametrize("fps", [1, 7, 30, 60])
def test_an_mp4_has_the_frames_rate_and_recipe(fps: int) -> None:
    frames = film(9, 47, 63)
    data = encode_film(frames, "mp4", fps, loop=True, recipe=RECIPE)
    with av.open(BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (64, 48), "even sides"
        assert stream.average_rate == fps
        assert json.loads(container.metadata["comment"]) == RECIPE
        found = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert len(found) == 9 and np.abs(found[:, :47, :63].astype(int) - frames).mean() < 6
    assert encode_film(frames, "mp4", fps, loop=False, recipe=RECIPE) == data
