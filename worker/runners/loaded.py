"""The one cache of a worker process: networks of torch, sessions of onnxruntime and collections.

Its bound is ATELIER_MODEL_MEMORY_BYTES: the least recently used entry is evicted first, and an entry larger than the
bound is cached alone. A network is loaded onto `models.tensors.best_device()` and stays there.
Imports no torch, which jobs of the queue `fast` do not need. Any thread may call it: models are warmed up and unloaded
beside jobs.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from jobs.settings import get_settings
from models.catalogue import Card, card, folder_of, revision
from worker.run import Task

T = TypeVar("T")
counts = {"model_loads": 0, "model_evictions": 0}  # since the start of this process


@dataclass(frozen=True)
class _Entry:
    value: Any
    n_bytes: int


# By id and revision; the most recently used entry is the last.
_entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
_lock = threading.RLock()  # held while a model is loaded, so that no other thread loads it too


def loaded(task: Task, key: tuple[str, str], load: Callable[[], T], size: Callable[[T], int], expected: int = 0) -> T:
    """The cached value of `key`, an id and a revision, which `load` returns for the first job that needs it.

    size: returns the bytes in memory of the value. expected: about as many bytes are evicted before loading.
    """
    with _lock:
        if key not in _entries:
            with task.loading():
                evict_to(get_settings().model_memory_bytes - expected)
                value = load()
            _entries[key] = _Entry(value, size(value))
            counts["model_loads"] += 1
            evict_to(get_settings().model_memory_bytes, keep=key)
        _entries.move_to_end(key)
        cached: T = _entries[key].value
        return cached


def loaded_model(task: Task, card: Card, load: Callable[[], T], size: Callable[[T], int] | None = None) -> T:
    """The cached model of a card; its size is that of its files unless `size` returns it."""
    weights_dir = get_settings().weights_dir
    paths = (folder_of(card, weights_dir) / name for name in card.files)
    on_disk = sum(path.stat().st_size for path in paths if path.is_file())
    return loaded(task, (card.id, revision(card, weights_dir)), load, size or (lambda value: on_disk), on_disk)


def revision_of(model_id: str) -> str:
    """The revision of a model's files, see `models.catalogue.revision`."""
    return revision(card(model_id), get_settings().weights_dir)


def evict_to(n_bytes: int, keep: tuple[str, str] | None = None) -> None:
    """Evicts the least recently used entries until the cache has at most `n_bytes`, or only `keep` is left."""
    for key in [key for key in _entries if key != keep]:
        if sum(entry.n_bytes for entry in _entries.values()) <= n_bytes:
            return
        del _entries[key]
        counts["model_evictions"] += 1


def evict(model_id: str) -> bool:
    """Evicts a model, in every revision; returns whether it was cached. A job that uses it keeps it until its end."""
    with _lock:
        cached = [key for key in _entries if key[0] == model_id]
        for key in cached:
            del _entries[key]
            counts["model_evictions"] += 1
    if cached and (torch := sys.modules.get("torch")):
        torch.cuda.empty_cache()  # gives freed memory back to the device
    return bool(cached)


def evict_all() -> None:
    """Empties the cache."""
    _entries.clear()


def cached_ids() -> list[str]:
    """The ids of the cached models; of a collection that is cached, its kind."""
    return list({name for name, _ in list(_entries)})


def figures() -> dict[str, int]:
    """Loads and evictions since the start of this process, and the bytes in memory; for any thread."""
    return {**counts, "model_bytes": sum(entry.n_bytes for entry in list(_entries.values()))}
