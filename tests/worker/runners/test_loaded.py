"""Models in memory: loaded once, again when their files change, and evicted."""

from pathlib import Path

import pytest

from jobs.errors import AtelierError
from jobs.settings import get_settings
from models.build import build
from models.catalogue import Card
from tests.worker.runners.generations import TINY, run, saved
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


def test_a_damaged_file_is_named(known: dict[str, Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_WEIGHTS_DIR", str(tmp_path))
    get_settings.cache_clear()
    loaded.evict_all()
    with pytest.raises(AtelierError, match="vae is not on this machine") as error:
        run(known, "vae", n=1)
    monkeypatch.undo()
    forget()
    assert (error.value.code, error.value.details) == ("weights_unavailable", {"model": "vae"})
