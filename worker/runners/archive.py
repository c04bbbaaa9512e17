"""Reads the images of an uploaded archive for a job, and notes on the job what is not used."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.settings import get_settings
from models.data.archive import Limits
from models.data.dataset import Dataset, Report
from models.data.folder import image_folder
from worker.files import Files
from worker.run import Task

MAX_ENTRIES = 20  # in `metrics.skipped`, whose count includes all


def read_archive(
    task: Task,
    files: Files,
    sha: str,
    size: int,
    *,
    channels: int,
    on_read: Callable[[int], None],
    minimum: int = 1,
    limit: int | None = None,
) -> Dataset:
    """Reads an archive with `image_folder`; `metrics.skipped` and `metrics.warnings` say what is not used.

    Raises DataError if the images cannot be used.
    """
    with TemporaryDirectory(prefix=f"atelier-{files.job_id}-") as folder:
        path = Path(folder) / "archive.zip"
        files.fetch(sha, path)
        limits = Limits(pixels=get_settings().max_pixels)
        dataset = image_folder(
            path, size, channels=channels, minimum=minimum, limit=limit, limits=limits, on_read=on_read
        )
    note_skipped(task, dataset.report)
    return dataset


def note_skipped(task: Task, report: Report) -> None:
    """Notes the files and rows that are not used in `metrics.skipped`, and warns of them."""
    entries = [{"name": name[:500], "reason": reason[:500]} for name, reason in report.skipped[:MAX_ENTRIES]]
    task.notes["skipped"] = {"count": len(report.skipped), "entries": entries}
    if entries:
        first = "; ".join(f"{each['name']!r}: {each['reason']}" for each in entries[:3])
        more = f"; and {len(report.skipped) - 3} more" if len(report.skipped) > 3 else ""
        task.warn("entries_skipped", f"{len(report.skipped)} entries of the archive are skipped: {first}{more}.")
    for warning in report.warnings:
        task.warn(**warning)
