"""Reads versions of collections. Imports no torch, which searches for members and vectors do not need."""

from functools import partial
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from models.space.collection import FittedCollection, load_collection
from worker.files import Files
from worker.run import Task
from worker.runners.loaded import loaded


def read_collection(task: Task, sha: str) -> FittedCollection:
    """A version of a collection by the sha256 of its file, from the cache."""
    return loaded(task, ("collection", sha), partial(_fetched, task.files, sha), itemgetter(1))[0]


def _fetched(files: Files, sha: str) -> tuple[FittedCollection, int]:
    """Reads a collection; also returns the size of its file, which is about that of its arrays in memory."""
    with TemporaryDirectory(prefix="atelier-collection-") as folder:
        path = Path(folder) / "collection.npz"
        files.fetch(sha, path)
        return load_collection(path), path.stat().st_size
