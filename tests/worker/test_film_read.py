"""Films that were written by the encoder, read frame by frame."""

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from images.film import film_facts
from jobs.schemas import AnimationFormat
from tests.worker.test_film import film
from worker.film import encode_film
from worker.film_read import FilmError, open_film

LARGE = 10**6


def tone(seconds: float) -> bytes:
    """An MP4 with a tone and without frames."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        wave = np.sin(np.arange(int(16000 * seconds)) / 8).astype(np.float32)
        for start in range(0, len(wave), 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize("format", ["gif", "webp", "mp4"])
def test_frames_and_times_are_read_as_they_were_written(format: AnimationFormat, tmp_path: Path) -> None:
    frames, times = film(6)[:5], [40, 80, 40, 100, 60]
    path = tmp_path / "film"
    path.write_bytes(encode_film(frames, format, times, loop=True, recipe={}))
    with open_film(path, LARGE) as opened:
        found = list(opened.frames)
        assert opened.loops == (format != "mp4") and opened.sound(300) is None
    shown, durations = zip(*found, strict=True)
    assert np.abs(np.stack(shown).astype(int) - frames).mean() < 6
    assert list(durations[:4]) == times[:4]


def test_the_sound_of_an_mp4_is_kept(tmp_path: Path) -> None:
    path, again = tmp_path / "film.mp4", tmp_path / "again.mp4"
    path.write_bytes(encode_film(film(12), "mp4", [50] * 12, loop=False, recipe={}, sound=tone(2)))
    with open_film(path, LARGE) as opened:
        assert len(list(opened.frames)) == 12
        sound = opened.sound(600)
    again.write_bytes(encode_film(film(12), "mp4", [50] * 12, loop=False, recipe={}, sound=sound))
    with av.open(str(again)) as container:
        [track] = container.streams.audio
        seconds = sum(frame.samples for frame in container.decode(track)) / 16000
    assert abs(seconds - 0.6) < 0.15, "as long as the film"
    with again.open("rb") as file:
        assert film_facts(file) == (64, 48, 12)


@pytest.mark.parametrize("keep", [40, 400, 1500])
def test_a_damaged_film_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(encode_film(film(6), "mp4", 10, loop=False, recipe={})[:keep])
    with pytest.raises(FilmError), open_film(path, LARGE) as opened:
        list(opened.frames)
    with pytest.raises(ValueError), path.open("rb") as file:
        film_facts(file)


def test_frames_of_too_many_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(encode_film(film(3), "mp4", 10, loop=False, recipe={}))
    with pytest.raises(FilmError, match="more than 100 pixels"), open_film(path, 100) as opened:
        list(opened.frames)
