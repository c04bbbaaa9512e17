"""Full-size models as spaces: cards without `model.safetensors`, and files that were not fetched."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.errors import AtelierError
from jobs.requests.architectures import ARCHITECTURES
from jobs.requests.collection import CollectionParams
from jobs.settings import get_settings
from models.catalogue import card, cards
from worker.failures import failures
from worker.runners.space import load_space

NAMES = ("kandinsky-2.2", "stable-unclip", "ip-adapter")


@pytest.mark.parametrize("name", NAMES)
def test_a_job_with_a_model_that_was_not_fetched_names_the_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_WEIGHTS_DIR", str(tmp_path))
    get_settings.cache_clear()
    task: Any = SimpleNamespace(find_model=card, loading=nullcontext, notes={})
    with (
        pytest.raises(AtelierError, match=rf"not on this machine: run `python -m models.fetch {name}`") as caught,
        failures(),
    ):
        load_space(task, CollectionParams(name="Faces", space=name, data="digits"))
    assert caught.value.code == "weights_unavailable"
    get_settings.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_a_collection_can_name_a_pretrained_model(name: str) -> None:
    assert CollectionParams(name="Faces", space=name, data="digits").space == name


def test_the_spaces_of_the_api_are_those_of_the_cards() -> None:
    full_size = {name: found.architecture for name, found in cards().items() if "reads_text" in found.architecture}
    assert full_size.keys() == set(NAMES) <= {name for name, known in ARCHITECTURES.items() if known.encoder}
    embeds_text = {name for name, known in ARCHITECTURES.items() if known.embeds_text}
    assert {name for name, found in full_size.items() if found["reads_text"]} == set(NAMES) & embeds_text
