"""The one cache of what a worker process has loaded: networks of torch, sessions of onnxruntime, collections.

It is bounded by ATELIER_MODEL_MEMORY_BYTES; what was not used for longest is evicted first, and what is larger than the
bound is cached alone. A network is loaded onto `models.tensors.best_device()` and stays there: nothing moves it.
Imports no torch, which jobs of the queue `fast` do without.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from jobs.settings import get_settings
from models.catalogue import Card, card, folder_of, revision
from worker.run import Task

if TYPE_CHECKING:
    from models.perceptual.vgg import VGG

T = TypeVar("T")


@dataclass(frozen=True)
class _Entry:
    value: Any
    n_bytes: int


# By id and revision, the one used last at the end.
_entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()


def loaded(task: Task, key: tuple[str, str], load: Callable[[], T], size: Callable[[T], int], expected: int = 0) -> T:
    """What `load` returned for `key`, an id and a revision, loaded by the first job that asks for it.

    size: gives the bytes in memory of what was loaded, of which about `expected` are made room for before.
    """
    if key not in _entries:
        with task.loading():
            evict_to(get_settings().model_memory_bytes - expected)
            value = load()
        _entries[key] = _Entry(value, size(value))
        evict_to(get_settings().model_memory_bytes, keep=key)
    _entries.move_to_end(key)
    found: T = _entries[key].value
    return found


def loaded_model(task: Task, card: Card, load: Callable[[], T], size: Callable[[T], int] | None = None) -> T:
    """The same for the model of a card; without `size` it takes the bytes of its files."""
    weights_dir = get_settings().weights_dir
    paths = (folder_of(card, weights_dir) / name for name in card.files)
    on_disk = sum(path.stat().st_size for path in paths if path.is_file())
    return loaded(task, (card.id, revision(card, weights_dir)), load, size or (lambda value: on_disk), on_disk)


def loaded_vgg(task: Task, model_id: str) -> "VGG":
    """The VGG of a card on the device of this process; raises WeightsError."""
    from models.perceptual.vgg import load_vgg
    from models.tensors import best_device, bytes_of

    weights_dir = get_settings().weights_dir
    return loaded_model(task, card(model_id), lambda: load_vgg(model_id, weights_dir, best_device()), bytes_of)


def evict_to(n_bytes: int, keep: tuple[str, str] | None = None) -> None:
    """Evicts what was not used for longest until all together has `n_bytes` at most, or only `keep` is left."""
    for key in [key for key in _entries if key != keep]:
        if sum(entry.n_bytes for entry in _entries.values()) <= n_bytes:
            return
        del _entries[key]


def evict_all() -> None:
    """Empties the cache."""
    _entries.clear()
