"""A film in a style, by the real network."""

from io import BytesIO
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from jobs.errors import AtelierError
from jobs.images import read_recipe
from jobs.requests.kinds import parse
from jobs.schemas import AnimationFormat
from models.catalogue import card
from tests.worker.tasks import run_alone
from tests.worker.test_film import film
from tests.worker.test_film_read import tone
from worker.film import encode_film
from worker.run import JobResult, Task


class Film:
    """The files of a job whose film has these bytes."""

    job_id = "job_1"

    def __init__(self, data: bytes) -> None:
        self.data = data

    def fetch(self, sha: str, path: Path) -> None:
        path.write_bytes(self.data)


def run(data: bytes, **params: Any) -> tuple[JobResult, list[tuple[int, int, str]]]:
    steps: list[tuple[int, int, str]] = []

    def step(done: int, total: int, message: str, image: Any = None) -> None:
        assert image().shape[2] == 3
        steps.append((done, total, message))

    asked = {"mode": "film", "film": "zip_" + "0" * 64, "style": "builtin:19", "size": 64, "seed": 1, **params}
    task = Task(
        parse("style-transfer", asked), step, lambda _: np.zeros((1, 1, 3), np.uint8), card, cast(Any, Film(data))
    )
    return run_alone(task), steps


@pytest.mark.parametrize("format", ["gif", "webp", "mp4"])
def test_every_frame_is_painted_and_reported(format: AnimationFormat) -> None:
    data = encode_film(film(7)[:5], format, [100] * 5, loop=True, recipe={}, sound=tone(1) if format == "mp4" else None)
    made, steps = run(data, format=format, n_frames=5)
    assert steps == [(k, 5, "stylizing") for k in range(1, 6)]
    [output] = made.images
    assert output.role == "animation" and output.frames is not None and output.film is not None
    assert output.frames.shape == (5, 48, 64, 3)
    assert made.metrics == {"n_frames": 5, "duration_s": 0.5, "sound": format == "mp4"}
    assert made.models.keys() == {"fast-multistyle"} and "opencv-python-headless" in made.versions
    file = output.film(output.frames, {"kind": "style-transfer"})
    if format == "mp4":
        with av.open(BytesIO(file)) as container:
            assert len(container.streams.audio) == 1 and container.streams.video[0].frames == 5
    else:
        assert read_recipe(file) == {"kind": "style-transfer"}


def test_smoothing_steadies_what_does_not_move() -> None:
    still = np.repeat(film(3)[:1], 4, axis=0).astype(int)
    noisy = (still + np.random.default_rng(0).normal(0, 6, still.shape)).clip(0, 255).astype(np.uint8)
    data = encode_film(noisy, "mp4", 10, loop=False, recipe={})

    def flicker(smoothing: float) -> float:
        frames = run(data, format="mp4", n_frames=4, smoothing=smoothing)[0].images[0].frames
        assert frames is not None
        return float(np.abs(np.diff(frames.astype(int), axis=0)).mean())

    assert flicker(0.85) < flicker(0) / 2


def test_a_damaged_film_ends_the_job_with_its_field() -> None:
    data = encode_film(film(5), "mp4", 10, loop=False, recipe={})
    with pytest.raises(AtelierError, match="film: the film is damaged") as error:
        run(data[:1500], format="mp4", n_frames=5)
    assert (error.value.code, error.value.details["field"]) == ("film_unreadable", "film")
