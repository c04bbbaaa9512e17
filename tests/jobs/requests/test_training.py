"""What a training may ask for, held to the recipes that answer."""

import re
from dataclasses import MISSING, asdict, fields
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs.errors import BadInput
from jobs.requests.architectures import RECIPES
from jobs.requests.base import Request
from jobs.requests.datasets import DATA, SETS
from jobs.requests.training import DdpmTraining, Training
from jobs.requests.training_base import TRAINED_ID
from jobs.requests.training_captioned import trainable_side
from models.catalogue import cards
from models.data.idx import DEBIAN_FOLDER
from models.data.named import NAMED, named_dataset
from models.training.recipe import Recipe
from models.training.run import Schedule

PARAMS: TypeAdapter[Training] = TypeAdapter(Training)
ZIP = "zip_" + "0" * 64
LEAST: dict[str, dict[str, Any]] = {
    "vae": {"data": "digits"},
    "gan": {"data": "digits"},
    "dcgan": {"data": "avatars"},
    "cyclegan": {"data": "avatars", "attribute": "glasses"},
    "ddpm": {"data": "digits"},
    "classifier": {"data": "digits"},
    "style": {"style": "img_" + "0" * 64},
    "stable-diffusion": {"data": "avatars", "start": "stable-diffusion-avatars"},
    "kandinsky": {"data": "avatars", "start": "kandinsky-avatars"},
    "clip": {"data": "avatars"},
    "autoencoder": {"data": "avatars"},
    "lora": {"data": "avatars", "model": "stable-diffusion-avatars"},
}


def recipe(name: str) -> Recipe:
    found: Recipe = import_module(f"models.training.{name.replace('-', '_')}").RECIPE
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
    # A folder of one machine is no parameter of a request, and a file is an image there.
    other = {"dcgan": "autoencoder", "ddpm": "autoencoder", "autoencoder": "denoiser", "style": "style"}
    own = {field.name: field.default for field in fields(known.settings) if field.name != other.get(name)}
    assert MISSING not in own.values()
    schedule = {field.name: getattr(known.schedule, field.name) for field in fields(Schedule) if field.name != "seed"}
    mirrored = {key: field.default for key, field in model.model_fields.items() if key in own | schedule}
    mirrored = {key: tuple(value) if isinstance(value, list) else value for key, value in mirrored.items()}
    assert mirrored == own | schedule
    assert (model.default_size, model.channels) == (known.image_size, known.channels)
    given = {"lora": {"model"}, "style": {"start", "style"}}.get(name, {"start"})
    shared = {"recipe", "data", "title", "limit", "image_size", *given}
    assert model.model_fields.keys() - Request.model_fields.keys() - shared == own.keys() | schedule.keys()


@pytest.mark.parametrize("name", SETS)
def test_what_is_known_of_a_set_is_so(name: str) -> None:
    assert set(SETS) == set(NAMED)
    if name == "mnist" or (name == "fashion-mnist" and not DEBIAN_FOLDER.is_dir()):
        pytest.skip("its files are neither in this repository nor installed")
    known = named_dataset(name, limit=2)
    assert known.images.shape[1:] == (SETS[name].image_size, SETS[name].image_size, SETS[name].channels)
    assert known.attribute_names == SETS[name].attributes


def test_ids_and_data_are_recognized_by_their_form() -> None:
    assert re.match(TRAINED_ID, "vae-0123456789ab") and not re.match(TRAINED_ID, "vae-fashion-mnist-2")
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
        ("ddpm", {"data": "styles"}, "data", "at most 128"),
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
        ("vae", {"data": "photos"}, "data", "at most 128"),
        ("style", {"style": "builtin:1"}, "style", "pattern"),
        ("style", {"image_size": 64}, "image_size", "only archives"),
        ("style", {"data": ZIP, "image_size": 516}, "image_size", "512"),
        ("clip", {"data": "digits"}, "data", "digits has no captions"),
        ("clip", {"data": ZIP, "image_size": 20}, "image_size", "multiple of 16"),
        ("autoencoder", {"patch_size": 8, "data": ZIP, "image_size": 48}, "image_size", "multiple of 32"),
        ("autoencoder", {"learned": "decoder"}, "learned", "from a start"),
        ("stable-diffusion", {"start": None}, "start", "Field required; only a training with clip and autoencoder"),
        ("stable-diffusion", {"clip": "kandinsky-avatars"}, "clip", "its own text encoder"),
        ("stable-diffusion", {"data": "flowers", "paraphrased": 0.5}, "paraphrased", "avatars"),
        ("lora", {"start": "lora-0123456789ab"}, "start", "not permitted"),
        ("lora", {"data": "digits"}, "data", "digits has no captions; recipe lora takes avatars, avatars-256, flowers"),
        ("lora", {"data": ZIP, "image_size": 100}, "image_size", "multiple of 8"),
        ("lora", {"prompts": [" "]}, "prompts", "pattern"),
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
    assert (parse("vae", batch_size=8).min_images, parse("vae").min_images) == (16, 128)


def asked_for(body: dict[str, Any]) -> Any:
    return PARAMS.validate_python(body)


SHIPPED = {name: found for name, found in cards().items() if found.source.get("recipe") in RECIPES and found.files}


@pytest.mark.parametrize("model_id", SHIPPED)
def test_every_shipped_model_can_be_trained_further(model_id: str) -> None:
    found = SHIPPED[model_id]
    more = {"attribute": "glasses"} if found.source["recipe"] == "cyclegan" else {}
    asked = asked_for({"recipe": found.source["recipe"], "data": found.source["data"], "start": model_id, **more})
    begun = asked.continued_from(asdict(found))
    for field in begun.shape:
        assert getattr(begun, field) == found.architecture.get(field, []), field
    assert asked_for(begun.model_dump(mode="json")) == begun, "a worker reads it again"


@pytest.mark.parametrize(
    ("start", "asked", "field", "says"),
    [
        (
            "vgg16",
            {"recipe": "vae"},
            "start",
            "vgg16 is of no architecture; recipe vae begins with mlp-vae or conv-vae",
        ),
        ("gan-digits-4", {"recipe": "vae"}, "start", "gan-digits-4 is of mlp-gan architecture"),
        ("vae-smileys", {"recipe": "vae"}, "data", "digits has images of 1 channels, and vae-smileys of 3"),
        ("vae-digits-2", {"recipe": "vae", "data": ZIP}, "data", "has images of 3 channels, and vae-digits-2 of 1"),
        (
            "gan-fashion-mnist-2",
            {"recipe": "gan"},
            "data",
            "images of 16 x 16 pixels, and gan-fashion-mnist-2 of 28 x 28",
        ),
        ("vae-smileys", {"recipe": "vae", "data": ZIP, "image_size": 32}, "image_size", "images of 32 x 32 pixels"),
        ("vae-digits-2", {"recipe": "vae", "latent_dim": 4}, "latent_dim", "vae-digits-2 has 2, and the training"),
        ("ddpm-digits", {"recipe": "ddpm", "patch_size": 8}, "patch_size", "ddpm-digits has"),
        ("classifier-digits", {"recipe": "classifier", "data": "mnist"}, "data", "answers questions about digits"),
        (
            "kandinsky-flowers",
            {"recipe": "clip", "data": "avatars"},
            "data",
            "64 x 64 pixels, and kandinsky-flowers of",
        ),
        ("stable-diffusion-avatars", {"recipe": "clip", "data": "avatars"}, "start", "begins with clip"),
        (
            "stable-diffusion-avatars",
            {"recipe": "autoencoder", "data": "avatars", "latent_channels": 4},
            *("latent_channels", "stable-diffusion-avatars has 8"),
        ),
    ],
)
def test_a_start_that_does_not_fit_is_refused_by_field(
    start: str, asked: dict[str, Any], field: str, says: str
) -> None:
    params = asked_for({"data": "digits", "start": start, **asked})
    with pytest.raises(BadInput, match=re.escape(says)) as error:
        params.continued_from(asdict(cards()[start]))
    assert error.value.details["field"] == field


def test_an_archive_is_read_in_the_size_of_the_start_and_a_start_without_attributes_can_learn_some() -> None:
    begun = asked_for({"recipe": "vae", "data": ZIP, "start": "vae-smileys"}).continued_from(
        asdict(cards()["vae-smileys"])
    )
    assert (begun.image_size, begun.model_dump()["latent_dim"]) == (
        64,
        cards()["vae-smileys"].architecture["latent_dim"],
    )
    plain = asdict(cards()["ddpm-avatars"])
    attributes = plain["architecture"].pop("attributes")
    asked = {"recipe": "ddpm", "data": "avatars", "start": "ddpm-avatars"}
    assert asked_for({**asked, "attributes": ["hat"]}).continued_from(plain).model_dump()["attributes"] == ["hat"]
    with pytest.raises(BadInput, match="attributes: ddpm-avatars has"):
        asked_for({**asked, "attributes": ["hat"]}).continued_from(asdict(cards()["ddpm-avatars"]))
    assert asked_for(asked).continued_from(asdict(cards()["ddpm-avatars"])).model_dump()["attributes"] == attributes


def test_a_lora_is_trained_at_the_side_of_a_model_with_a_unet() -> None:
    shipped = {name: asdict(found) for name, found in cards().items()}
    sides = {name: trainable_side(shipped, name) for name in ("stable-diffusion-avatars", "sdxl", "sd-turbo")}
    assert sides == {"stable-diffusion-avatars": 64, "sdxl": 1024, "sd-turbo": 512}
    for name, code in (
        ("flux-schnell", "model_mismatch"),
        ("vae-smileys", "model_mismatch"),
        ("nothing", "unknown_model"),
    ):
        with pytest.raises(BadInput, match=r"^model: .*stable-diffusion-avatars") as error:
            trainable_side(shipped, name)
        assert error.value.code == code and "flux-schnell" not in error.value.details["allowed"]
    asked = asked_for({"recipe": "lora", "model": "sdxl", "data": "avatars"})
    assert (asked.uses().models, asked.size) == (("sdxl",), 64)


def test_parts_of_shipped_models_are_starts_and_parts() -> None:
    shipped = {name: asdict(found) for name, found in cards().items()}
    clip = asked_for({"recipe": "clip", "data": "flowers", "start": "kandinsky-flowers"})
    assert clip.continued_from(shipped["kandinsky-flowers"]).base_channels == 16
    kl = asked_for({"recipe": "autoencoder", "data": ZIP, "start": "stable-diffusion-avatars", "image_size": 32})
    begun = kl.continued_from(shipped["stable-diffusion-avatars"])
    assert (begun.architecture, begun.latent_channels, begun.image_size) == ("autoencoder-kl", 8, 32)
    decoder = asked_for({"recipe": "kandinsky", "data": "flowers", "start": "kandinsky-flowers", "guidance_scale": 5.0})
    begun = decoder.continued_from(shipped["kandinsky-flowers"])
    assert (begun.guidance_scale, begun.num_inference_steps, begun.last_timestep) == (5.0, 18, 160)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"clip": "kandinsky-avatars", "autoencoder": "ddpm-avatars"}, ""),
        ({"clip": "kandinsky-avatars", "autoencoder": "kandinsky-avatars"}, "autoencoder: kandinsky-avatars has none"),
        ({"clip": "nothing", "autoencoder": "ddpm-avatars"}, "clip: No model is called 'nothing'; there are kandinsky"),
        (
            {"recipe": "kandinsky", "clip": "kandinsky-flowers", "autoencoder": "kandinsky-flowers"},
            "clip: .* 128 pixels",
        ),
    ],
)
def test_the_parts_of_a_diffusion_model_are_checked(asked: dict[str, Any], says: str) -> None:
    params = asked_for({"recipe": "stable-diffusion", "data": "avatars", **asked})
    facts: Any = SimpleNamespace(cards=lambda: {name: asdict(found) for name, found in cards().items()})
    if not says:
        assert params.resolved(facts).uses().models == ("kandinsky-avatars", "ddpm-avatars")
        return
    with pytest.raises(BadInput, match=says):
        params.resolved(facts)
