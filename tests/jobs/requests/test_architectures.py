"""The table of architectures, held to the models that are built and loaded."""

from importlib import import_module
from typing import Any, get_args

import pytest

from cards.schedulers import SCHEDULERS
from jobs.requests.architectures import ALL_MODES, ARCHITECTURES, RECIPES, capabilities
from jobs.requests.latents import Scheduler
from jobs.requests.style_base import MIN_OUTPUT_SIDE
from jobs.requests.styles import BUILTIN_NAMES
from models import build
from models.catalogue import cards
from models.diffusion import schedulers, unconditional
from models.diffusion.embedding import Kandinsky
from models.diffusion.pretrained import PRETRAINED
from models.generative.base import LatentAutoencoder
from models.stylize import fast

TRAINED = {card.architecture["name"]: card.source["recipe"] for card in cards().values() if "recipe" in card.source}


def test_every_architecture_can_be_loaded_and_every_model_has_one() -> None:
    loaded = {*build.ARCHITECTURES, *PRETRAINED, build.DIFFUSERS, build.LORA, build.TEXTUAL_INVERSION, *build.ADDITIONS}
    assert ARCHITECTURES.keys() == loaded
    named = {card.architecture["name"] for card in cards().values() if card.architecture.get("name")}
    assert named <= ARCHITECTURES.keys()


def test_every_mode_is_of_some_architecture() -> None:
    assert {mode for known in ARCHITECTURES.values() for mode in known.modes} == set(ALL_MODES)


def test_recipes_train_the_architectures_that_the_table_says() -> None:
    for name, known in ARCHITECTURES.items():
        if known.recipe:
            assert TRAINED.get(name, known.recipe) == known.recipe
    assert [import_module(f"models.training.{name.replace('-', '_')}").RECIPE.name for name in RECIPES] == list(RECIPES)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name in build.ARCHITECTURES])
def test_models_with_an_encoder_encode(name: str) -> None:
    shipped = (card.architecture for card in cards().values() if card.architecture.get("name") == name)
    architecture: dict[str, Any] | None = next(shipped, None)
    if architecture is None:
        pytest.skip("no shipped model has this architecture")
    module = build.build(architecture)
    known = capabilities(architecture)
    assert known.encoder == isinstance(module, LatentAutoencoder | Kandinsky)
    assert known.embeds_text == hasattr(module, "encode_texts")


def test_names_and_bounds_are_those_of_the_models() -> None:
    assert list(SCHEDULERS) == list(schedulers.SCHEDULERS)
    assert get_args(Scheduler) == get_args(unconditional.SchedulerName)
    assert len(BUILTIN_NAMES) == fast.BUILTIN_STYLES
    assert MIN_OUTPUT_SIDE == fast.MIN_FAST_SIDE
