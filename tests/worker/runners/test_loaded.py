"""Models in memory: loaded once, again when their files change, and evicted."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from jobs.errors import AtelierError
from jobs.settings import get_settings
from models.build import build
from models.catalogue import Card
from tests.worker.runners.generations import TINY, run, saved, task
from tests.worker.tasks import forget
from worker.runners import loaded


def test_a_model_is_loaded_once_and_again_when_its_file_changes(known: dict[str, Card]) -> None:
    loaded.evict_all()
    run(known, "gan", n=1)
    [first] = loaded._entries.values()
    run(known, "gan", n=1)
    [again] = loaded._entries.values()
    assert again.value is first.value
    other = {**known, "gan": saved("gan2", TINY["gan"], build(TINY["gan"]), get_settings().weights_dir)}
    made, _ = run(other, "gan", n=1)
    assert len(loaded._entries) == 2
    assert made.models != run(known, "gan", n=1)[0].models


def test_the_least_recently_used_model_is_evicted(known: dict[str, Card], monkeypatch: pytest.MonkeyPatch) -> None:
    evictions, loads = loaded.counts["model_evictions"], loaded.counts["model_loads"]

    def kept() -> list[str]:
        return [model_id for model_id, _ in loaded._entries]

    loaded.evict_all()
    for model in ("gan", "vae", "gan"):
        run(known, model, n=1)
    assert kept() == ["vae", "gan"], "the most recently used is the last"
    both = sum(each.n_bytes for each in loaded._entries.values())
    monkeypatch.setenv("ATELIER_MODEL_MEMORY_BYTES", str(both + 1))
    get_settings.cache_clear()
    run(known, "ddpm", n=1, num_inference_steps=1)
    assert kept()[-1] == "ddpm" and "vae" not in kept()
    monkeypatch.setenv("ATELIER_MODEL_MEMORY_BYTES", "1")
    get_settings.cache_clear()
    run(known, "vae", n=1)
    assert kept() == ["vae"], "larger than the bound, and cached alone"
    figures, size = loaded.figures(), loaded._entries.popitem()[1].n_bytes
    assert figures["model_loads"] - loads == 4 and figures["model_evictions"] - evictions == 3
    assert figures["model_bytes"] == size
    monkeypatch.undo()
    get_settings.cache_clear()


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_twenty_swaps_of_models_leave_no_memory_behind(monkeypatch: pytest.MonkeyPatch, known: dict[str, Card]) -> None:
    """Promise J12: two networks of 64 MB take turns in a cache that holds one."""
    job = task(known, lambda *_: None, model="gan", n=1)
    network = partial(torch.ones, 4000, 4000)
    n_bytes = 4 * 4000**2
    monkeypatch.setenv("ATELIER_MODEL_MEMORY_BYTES", str(n_bytes))
    get_settings.cache_clear()
    loaded.evict_all()
    resident, evictions = [], loaded.counts["model_evictions"]
    for number in range(22):
        loaded.loaded(job, (f"m{number % 2}", "1"), network, lambda _: n_bytes, n_bytes)
        resident.append(resident_mb())
    swaps = loaded.counts["model_evictions"] - evictions
    print(f"J12: {swaps} swaps of models of 64 MB: resident {resident[1]:.0f} -> {resident[-1]:.0f} MB")
    assert swaps >= 20
    assert resident[-1] < resident[1] + 32
    loaded.evict_all()
    monkeypatch.undo()
    get_settings.cache_clear()


def test_a_damaged_file_is_named(known: dict[str, Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_WEIGHTS_DIR", str(tmp_path))
    get_settings.cache_clear()
    loaded.evict_all()
    with pytest.raises(AtelierError, match="vae is not on this machine") as error:
        run(known, "vae", n=1)
    monkeypatch.undo()
    forget()
    assert (error.value.code, error.value.details) == ("weights_unavailable", {"model": "vae"})
