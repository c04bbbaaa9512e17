"""Adds a model of one's own: fetches its files, loads them once and stores them where every worker finds them."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from jobs.errors import AtelierError, BadInput
from jobs.intake.downloads import PARTIAL, Headers, Network, download, look
from jobs.requests.added_model import AddedModel
from jobs.settings import get_settings
from models.catalogue import Card, CardError, cards, file_sha256, made_card, revision
from models.errors import WeightsError
from models.local import fetch_local, record
from worker.run import JobResult, Task

COMING = ".adding"  # in the folder of weights: one folder for each source, which a later attempt continues
KEPT_S = 86400  # a source that no attempt has touched for so long is removed
HUB = "https://huggingface.co"
NETWORK = Network()


def run_added_model(task: Task[AddedModel]) -> JobResult:
    """Registers the model; raises AtelierError, and WeightsError for files that cannot be loaded."""
    params = task.params
    try:
        card = made_card(params, cards())
    except CardError as error:
        raise BadInput("invalid_request", str(error), field=str(error).partition(":")[0]) from error
    with _workspace(task) as folder:
        task.files.check_new(params.id)
        n_bytes = _fetch(task, card, folder)
        task.report_progress(n_bytes, n_bytes, "storing")
        files: dict[str, str | None] = {name: task.files.store(folder / card.id / name) for name in card.files}
    source: dict[str, Any] = {"kind": "added", **{name: getattr(params, name) for name in ("url", "archive", "vae")}}
    source |= {"repositories": card.source["repositories"]} if params.repository else {}
    added = replace(card, files=files, source={name: value for name, value in source.items() if value})
    return JobResult(
        [],
        {card.id: revision(added, get_settings().weights_dir)},
        {},
        {"model": card.id, "size_bytes": n_bytes},
        asdict(added),
    )


@contextmanager
def _workspace(task: Task[AddedModel]) -> Iterator[Path]:
    """The folder of a source's files, for this process alone; it stays after an error, so that a retry can go on."""
    coming = get_settings().weights_dir / COMING
    coming.mkdir(parents=True, exist_ok=True)
    for path in coming.iterdir():
        if time.time() - path.stat().st_mtime > KEPT_S:
            shutil.rmtree(path, ignore_errors=True)
    source = repr(sorted(task.params.stored().items()))
    folder = coming / hashlib.sha256(source.encode()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        while not _locked(lock.fileno()):
            task.report_progress(0, 1, "another attempt fetches the same files")
            time.sleep(0.5)
        folder.mkdir(exist_ok=True)  # the other attempt may have removed it
        try:
            yield folder
        except Exception as error:
            if isinstance(error, WeightsError):  # the same bytes would fail again
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fetch(task: Task[AddedModel], card: Card, folder: Path) -> int:
    """Puts the files of a model into a folder of its own, and loads them once; returns their bytes."""
    params = task.params
    if params.repository:
        _download_repository(task, card, folder)
        task.report_progress(1, 1, "loading")
        record(card, folder)
    else:
        path = folder / "source.safetensors"
        if params.archive:
            _fetch_archive(task, params.archive.removeprefix("zip_"), path)
        else:
            _download(task, str(params.url), path, params.sha256)
        if params.vae:
            vae = folder / "source-vae.safetensors"
            _fetch_archive(task, params.vae.removeprefix("zip_"), vae)
            card = replace(card, source=card.source | {"vae": str(vae)})
        task.report_progress(1, 1, "loading")
        (folder / card.id).mkdir(exist_ok=True)
        fetch_local(card, folder, path)
    return sum((folder / card.id / name).stat().st_size for name in card.files)


def _fetch_archive(task: Task[AddedModel], sha: str, path: Path) -> None:
    size = task.files.size(sha)
    _check_disk(size, path)
    task.files.fetch(sha, path, lambda done: task.report_progress(done, size, f"{_mb(done)} of {_mb(size)} MB"))


def _download_repository(task: Task[AddedModel], card: Card, folder: Path) -> None:
    """Downloads the files of a repository of the Hugging Face hub at the card's commit."""
    hub = os.environ.get("HF_ENDPOINT") or HUB
    token = os.environ.get("HF_TOKEN") if task.params.gated else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    [(repository, part)] = card.source["repositories"].items()
    urls = {name: f"{hub}/{repository}/resolve/{part['revision']}/{there}" for name, there in part["files"].items()}
    offered = {}
    for name, url in urls.items():
        task.report_progress(0, 1, f"looking for {name}")
        offered[name] = look(url, headers, NETWORK)
    total, done = sum(each.size or 0 for each in offered.values()), 0
    for name, url in urls.items():
        path = folder / card.id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(task, url, path, offered[name].sha256, headers, done=done, total=total)
        done += path.stat().st_size


def _download(
    task: Task[AddedModel],
    url: str,
    path: Path,
    sha256: str | None,
    headers: Headers | None = None,
    *,
    done: int = 0,
    total: int = 0,
) -> None:
    """Downloads a file, again where a connection breaks, and checks its sha256; done, total: bytes of all files."""

    def on_bytes(here: int, size: int) -> None:
        _check_disk(size - here, path)
        all_bytes = max(total, done + size)
        task.report_progress(done + here, max(1, all_bytes), f"{_mb(done + here)} of {_mb(all_bytes)} MB")

    while not path.is_file():
        before = _arrived(path)
        try:
            download(url, path, on_bytes, headers or {}, NETWORK)
        except BadInput as error:
            if error.code != "url_not_allowed" or _arrived(path) <= before:  # else the connection broke
                raise
    if sha256 and file_sha256(path) != sha256:
        found = file_sha256(path)
        path.unlink()
        message = f"The file at the URL has sha256 {found}, not {sha256}."
        raise AtelierError("file_mismatch", message, sha256=found, expected=sha256)


def _arrived(path: Path) -> int:
    """The bytes of a download that have arrived."""
    partial = path.with_name(path.name + PARTIAL)
    return partial.stat().st_size if partial.is_file() else 0


def _check_disk(size: int, path: Path) -> None:
    """Raises AtelierError where a file, and a copy of it, do not fit the disk."""
    free = shutil.disk_usage(path.parent).free
    if 2 * size > free:
        message = f"The files need {2 * size:,} bytes in the folder of weights, and its disk has {free:,} free."
        raise AtelierError("disk_full", message, needed=2 * size, free=free)


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f}"
