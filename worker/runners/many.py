"""Runs one style over many images: those of a list, or of an archive whose damaged images are skipped."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from images.decode import decode, over_white
from images.errors import ImageError
from jobs.errors import AtelierError, BadInput
from jobs.requests.style_base import check_shorter_side
from jobs.requests.style_many import ManyTransfers
from jobs.settings import get_settings
from models.data.archive import Limits, open_files
from models.data.dataset import Report
from models.data.folder import image_names
from models.errors import DataError
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.ahead import ahead
from worker.runners.archive import note_skipped
from worker.runners.fast import stylize
from worker.runners.images import fit

Named = tuple[str | None, Callable[[], Pixels]]  # the name of an entry, and what decodes it
Made = tuple[Pixels, dict[str, str]]  # an image, and the models that made it


def run_many(task: Task[ManyTransfers]) -> JobResult:
    """Each image in the style, in the order of the list or of the names; raises AtelierError `bad_data` for none.

    A core works on each image; the next ones are decoded meanwhile.
    """
    images: list[OutputImage] = []
    skipped: list[tuple[str, str]] = []
    models: dict[str, str] = {}
    with ExitStack() as stack:
        for (name, _), running in ahead(partial(_stylized, task), _contents(task, stack, skipped)):
            try:
                image, used = running.result()
            except (ImageError, DataError, BadInput) as error:
                skipped.append((name or "", str(getattr(error, "message", error))))
                continue
            models |= used
            images.append(OutputImage(image, name=name))
            task.report_progress(len(images), task.params.n, name or "stylizing", lambda: images[-1].pixels)
    note_skipped(task, Report(tuple(skipped)))
    if not images:
        raise AtelierError("bad_data", f"None of the {len(skipped)} files is an image that can be used.")
    return JobResult(images, models, versions_of("onnxruntime"), {"n_images": len(images)})


def _stylized(task: Task[ManyTransfers], named: Named) -> Made:
    params, content = task.params, named[1]()
    check_shorter_side((content.shape[1], content.shape[0]), params.size)
    return stylize(task, fit(content, params.size), params.style, params.strength, params.preserve_color)


def _contents(task: Task[ManyTransfers], stack: ExitStack, skipped: list[tuple[str, str]]) -> Iterator[Named]:
    """The images of the list, or of the archive, which is open as long as the stack."""
    params = task.params
    if isinstance(params.contents, list):
        return ((None, partial(task.read_image, image)) for image in params.contents[: params.n])
    path = Path(stack.enter_context(TemporaryDirectory(prefix=f"atelier-{task.files.job_id}-"))) / "archive.zip"
    task.files.fetch(params.archive or "", path)
    files = stack.enter_context(open_files(path, Limits(pixels=get_settings().max_pixels)))
    names, others = image_names(files)
    skipped += others
    return ((name, partial(_decoded, partial(files.read, name))) for name in names[: params.n])


def _decoded(read: Callable[[], bytes]) -> Pixels:
    return np.asarray(over_white(decode(read(), max_pixels=get_settings().max_pixels).image))
