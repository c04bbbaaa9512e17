"""Runs style transfers of films: every frame by one pass of a network, steadied along the optical flow."""

from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from jobs.errors import AtelierError
from jobs.requests.base import filled
from jobs.requests.style_film import FilmTransfer
from jobs.settings import get_settings
from models.stylize.motion import Steadier
from worker.film import encode_film, even_sides
from worker.film_read import Film, FilmError, Timed, open_film
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.ahead import ahead
from worker.runners.fast import stylize
from worker.runners.images import fit


def run_film(task: Task[FilmTransfer]) -> JobResult:
    """The film in the style, with its sound in an MP4; raises AtelierError `film_unreadable`."""
    params = task.params
    with TemporaryDirectory(prefix=f"atelier-{task.files.job_id}-") as folder:
        path = Path(folder) / "film"
        task.files.fetch(params.film.removeprefix("zip_"), path)
        try:
            with open_film(path, get_settings().max_pixels) as film:
                frames, durations, models = _painted(task, film)
                sound = film.sound(sum(durations)) if params.format == "mp4" else None
        except FilmError as error:
            raise AtelierError("film_unreadable", f"film: {error}.", field="film") from error
    shown = even_sides(frames) if params.format == "mp4" else frames

    def encode(frames: Pixels, recipe: dict[str, Any]) -> bytes:
        return encode_film(frames, filled(params.format), durations, loop=film.loops, recipe=recipe, sound=sound)

    output = OutputImage(shown[0], "animation", film=encode, frames=shown)
    versions = versions_of("av", "onnxruntime", "opencv-python-headless", "pillow")
    figures = {"n_frames": len(frames), "duration_s": sum(durations) / 1000, "sound": sound is not None}
    return JobResult([output], models, versions, figures)


def _painted(task: Task[FilmTransfer], film: Film) -> tuple[Pixels, list[int], dict[str, str]]:
    """The frames (n, h, w, 3), the milliseconds of each, and the models that painted them."""
    params, steadier = task.params, Steadier(task.params.smoothing)
    n = filled(params.n_frames)
    frames: list[Pixels] = []
    durations: list[int] = []
    models: dict[str, str] = {}

    def stylized(timed: Timed) -> tuple[Pixels, dict[str, str]]:
        return stylize(task, timed[0], params.style, params.strength, params.preserve_color)

    contents = ((fit(frame, params.size), duration) for frame, duration in islice(film.frames, n))
    for (content, duration), running in ahead(stylized, contents):
        image, used = running.result()
        frames.append(steadier.steadied(content, image))
        durations.append(duration)
        models |= used
        task.report_progress(len(frames), n, "stylizing", lambda: frames[-1])
    if not frames:
        raise FilmError("it has no frames")
    return np.stack(frames), durations, models
