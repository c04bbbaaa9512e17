"""What a training may ask for, held to the recipes that answer."""

import re
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs.schemas import Request
from jobs.training import DATA, MODEL_ID, RECIPES, SETS, DdpmTraining, Training, TrainingParams
from models.data.named import NAMED, named_dataset
from models.training.recipe import Recipe
from models.training.run import Schedule

PARAMS: TypeAdapter[Training] = TypeAdapter(TrainingParams)
ZIP = "zip_" + "0" * 64
LEAST: dict[str, dict[str, Any]] = {
    "vae": {"data": "digits"},
    "gan": {"data": "digits"},
    "dcgan": {"data": "avatars"},
    "cyclegan": {"data": "avatars", "attribute": "glasses"},
    "ddpm": {"data": "digits"},
    "classifier": {"data": "digits"},
}


def recipe(name: str) -> Recipe:
    found: Recipe = import_module(f"models.training.{name}").RECIPE
    return found


def parse(name: str, **changed: Any) -> Training:
    return PARAMS.validate_python({"recipe": name, **LEAST[name], **changed})


def refusal(name: str, **changed: Any) -> tuple[str, str]:
    """The field that is refused, and why."""
    with pytest.raises(ValidationError) as error:
        parse(name, **changed)
    [problem] = error.value.errors()
    field = problem.get("ctx", {}).get("field") or problem["loc"][1]
    return str(field), problem["msg"]


def test_every_recipe_has_its_parameters() -> None:
    assert set(LEAST) == set(RECIPES)
    assert [recipe(name).name for name in RECIPES] == list(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_names_and_defaults_are_those_of_the_recipe(name: str) -> None:
    known, model = recipe(name), type(parse(name))
    # A folder of one machine is no parameter of a request.
    own = {field.name: field.default for field in fields(known.settings) if field.name not in ("autoencoder", "start")}
    assert MISSING not in own.values()
    schedule = {field.name: getattr(known.schedule, field.name) for field in fields(Schedule) if field.name != "seed"}
    mirrored = {key: field.default for key, field in model.model_fields.items() if key in own | schedule}
    mirrored = {key: tuple(value) if isinstance(value, list) else value for key, value in mirrored.items()}
    assert mirrored == own | schedule
    assert (model.default_size, model.channels) == (known.image_size, known.channels)
    shared = {"recipe", "data", "title", "limit", "image_size"}
    assert model.model_fields.keys() - Request.model_fields.keys() - shared == own.keys() | schedule.keys()


@pytest.mark.parametrize("name", SETS)
def test_what_is_known_of_a_set_is_so(name: str) -> None:
    assert set(SETS) == set(NAMED)
    if name == "mnist":
        pytest.skip("its files are not in this repository")
    known = named_dataset(name, limit=2)
    assert known.images.shape[1:] == (SETS[name].image_size, SETS[name].image_size, SETS[name].channels)
    assert known.attribute_names == SETS[name].attributes


def test_ids_and_data_are_told_by_their_form() -> None:
    assert re.match(MODEL_ID, "vae-0123456789ab") and not re.match(MODEL_ID, "vae-fashion-mnist-2")
    assert all(re.match(DATA, data) for data in (*SETS, ZIP))
    assert not re.match(DATA, "../digits")


@pytest.mark.parametrize(
    ("name", "changed", "field", "why"),
    [
        ("gan", {"data": "avatars"}, "data", "digits, mnist, fashion-mnist or an archive"),
        ("dcgan", {"data": "flowers"}, "data", "64 x 64"),
        ("dcgan", {"data": ZIP, "image_size": 32}, "image_size", "64 x 64"),
        ("vae", {"data": ZIP, "image_size": 48}, "image_size", "16, 32, 64 or 128"),
        ("vae", {"image_size": 16}, "image_size", "only archives"),
        ("vae", {"limit": 16}, "limit", "at least batch_size, which is 128"),
        ("cyclegan", {"attribute": "wings"}, "attribute", "glasses"),
        ("cyclegan", {"matched": ["wings"]}, "matched", "glasses"),
        ("cyclegan", {"matched": ["glasses"]}, "matched", "differ"),
        ("cyclegan", {"data": "digits"}, "attribute", "none"),
        ("cyclegan", {"attribute": None}, "attribute", "Field required; only an archive"),
        ("cyclegan", {"batch_size": 64}, "pool_size", "at least batch_size, which is 64"),
        ("ddpm", {"block_out_channels": [32, 16]}, "block_out_channels", "equal to 32"),
        ("ddpm", {"block_out_channels": [32, 36]}, "block_out_channels", "multiple of 8"),
        ("ddpm", {"patch_size": 3}, "patch_size", "1, 2, 4 or 8"),
        ("ddpm", {"attributes": ["hat"]}, "attributes", "none"),
        ("ddpm", {"data": "avatars", "attributes": ["wings"]}, "attributes", "glasses"),
        ("ddpm", {"data": "avatars", "attributes": ["hat", "hat"]}, "attributes", "once"),
        ("gan", {"batch_size": 1}, "batch_size", "greater than or equal to 2"),
        ("vae", {"latent_dim": 513}, "latent_dim", "less than or equal to 512"),
        ("vae", {"learning_rate": 0}, "learning_rate", "greater than 0"),
        ("vae", {"num_steps": 1_000_001}, "num_steps", "1000000"),
        ("vae", {"limit": 15}, "limit", "16"),
        ("vae", {"data": "cats"}, "data", "pattern"),
        ("vae", {"base_channels": 8}, "base_channels", "not permitted"),
    ],
)
def test_what_cannot_be_trained_is_refused(name: str, changed: dict[str, Any], field: str, why: str) -> None:
    refused, message = refusal(name, **changed)
    assert refused == field
    assert why in message


def test_a_whole_number_may_be_written_with_a_point() -> None:
    parsed = parse("ddpm", block_out_channels=[32.0, 64], num_steps=5.0)
    assert isinstance(parsed, DdpmTraining)
    assert (parsed.block_out_channels, parsed.num_steps) == ([32, 64], 5)


def test_archives_are_read_at_the_size_asked_for_or_the_recipes_own() -> None:
    assert parse("vae", data=ZIP).size == 64
    assert parse("gan", data=ZIP).size == 28
    assert parse("gan", data=ZIP, image_size=20).size == 20
    assert parse("vae", data=ZIP).archive == "0" * 64
    assert parse("vae").archive is None
    assert (parse("vae", batch_size=8).needed, parse("vae").needed) == (16, 128)
