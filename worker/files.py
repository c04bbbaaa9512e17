"""Moves files between object storage and a worker: data and checkpoints of jobs, and weights of trained models."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs.objects import Objects
from jobs.requests.added_model import model_exists
from jobs.store.jobs import JobStore
from jobs.store.records import Record
from jobs.store.registry import CollectionRecord
from models.catalogue import Card, card_of, cards, file_sha256, folder_of
from worker.lease import check

log = logging.getLogger("atelier.worker")


class Files:
    """Fetches and stores files for one job."""

    def __init__(self, jobs: JobStore, objects: Objects, record: Record) -> None:
        self.job_id = record.id
        self._jobs = jobs
        self._objects = objects
        self._record = record

    def fetch(self, sha: str, path: Path, on_bytes: Callable[[int], None] = lambda done: None) -> None:
        """Writes an object to a file, and calls `on_bytes` with the bytes so far; raises `AtelierError`."""
        self._objects.get_file(sha, path, on_bytes)

    def size(self, sha: str) -> int:
        """Size of an object in bytes; raises `AtelierError`."""
        return self._objects.size(sha)

    def check_new(self, model_id: str) -> None:
        """Raises `Conflict` if there is a model of this id: another job may have added it since this one was queued."""
        if model_id in cards() or any(model.card["id"] == model_id for model in self._jobs.models.all()):
            raise model_exists(model_id)

    def store(self, path: Path) -> str:
        """Stores a file and returns its sha256; raises `Unavailable`."""
        with path.open("rb") as file:
            return self._objects.put_file(file, "application/octet-stream")

    def collection(self, collection_id: str) -> CollectionRecord:
        """Returns a collection with its versions; raises `NotFound`."""
        return self._jobs.collections.get(collection_id)

    def fetch_checkpoint(self, path: Path) -> None:
        """Writes the checkpoint of the last attempt, or of the job that this one repeats, to a file if there is one."""
        if self._record.checkpoint:
            self.fetch(self._record.checkpoint["sha256"], path)

    def keep_losses(self, points: list[dict[str, Any]]) -> None:
        """Replaces the losses of the job; raises `LeaseLostError` and `CanceledError`."""
        check(self._jobs.keep_losses(self.job_id, self._record.fence, points))

    def keep_checkpoint(self, path: Path, step: int) -> None:
        """Replaces the checkpoint of the job; raises `LeaseLostError` and `CanceledError`."""
        with path.open("rb") as file:
            sha = self._objects.put_file(file, "application/octet-stream", holder=self.job_id)
        checkpoint = {"step": step, "sha256": sha, "size_bytes": path.stat().st_size}
        check(self._jobs.keep_checkpoint(self.job_id, self._record.fence, checkpoint))


def remove_deleted_models(jobs: JobStore) -> None:
    """Deletes local copies of trained models that were deleted; no unfinished job uses them."""
    folder = jobs.settings.weights_dir / "trained"
    copies = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    for model_id in jobs.models.deleted(copies):
        log.info("removing the copy of %s, which was deleted", model_id)
        shutil.rmtree(folder / model_id, ignore_errors=True)  # another worker may delete it at the same time


def find_model(jobs: JobStore, objects: Objects, model_id: str) -> Card:
    """Returns the card of a model, and fetches the files of a trained or added one; raises `AtelierError`."""
    if model_id in cards():
        return cards()[model_id]
    trained = jobs.models.get(model_id).card
    card = card_of(trained)
    folder = folder_of(card, jobs.settings.weights_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name, sha in trained["files"].items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != sha:
            path.parent.mkdir(exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            objects.get_file(sha, partial)
            partial.replace(path)  # atomic: another process may load the file at any time
    return card
