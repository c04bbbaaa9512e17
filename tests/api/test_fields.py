"""Fields mean what they are: names of built-in styles, ids in image fields alone, seeds of 53 bits."""

import json
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter

from api import main
from api.style_transfers import CAT
from jobs.requests.base import MAX_SEED, image_fields
from jobs.requests.kinds import parse
from jobs.requests.style_transfer import StyleTransfer
from jobs.requests.styles import BUILTIN_NAMES
from tests.api.conftest import FAST, data_url, image_file
from tests.stack import Stack

STYLES: TypeAdapter[Any] = TypeAdapter(StyleTransfer)
A, B = "a" * 64, "b" * 64


def bodies() -> Iterator[tuple[str, TypeAdapter[Any]]]:
    """The body of every route that takes JSON."""
    for module in vars(main).values():
        for route in getattr(getattr(module, "router", None), "routes", []):
            if isinstance(route, APIRoute) and route.body_field is not None:
                hints = get_type_hints(route.endpoint, include_extras=True)
                yield route.path, TypeAdapter(hints[route.body_field.name])


def nodes(schema: Any, seen: set[int]) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict) and id(schema) not in seen:
        seen.add(id(schema))
        yield schema
        for each in schema.values():
            yield from nodes(each, seen)
    elif isinstance(schema, list | tuple):
        for each in schema:
            yield from nodes(each, seen)


def test_every_union_has_a_discriminator() -> None:
    """Otherwise pydantic puts validators into the error's path: "cluster.function-before[whole(), int]"."""
    for path, adapter in bodies():
        assert not [node for node in nodes(adapter.core_schema, set()) if node.get("type") == "union"], path


def test_image_fields_are_those_of_the_schema() -> None:
    """`image_fields` names every property that takes an image or a list of them."""

    def takes_image(schema: Any) -> bool:
        if isinstance(schema, list):
            return any(map(takes_image, schema))
        if not isinstance(schema, dict):
            return False
        return schema.get("format") == "image-ref" or any(
            takes_image(schema.get(key)) for key in ("anyOf", "oneOf", "items")
        )

    named: set[tuple[str, str]] = set()
    for _, adapter in bodies():
        document = adapter.json_schema()
        for title, schema in {document.get("title", ""): document, **document.get("$defs", {})}.items():
            named |= {(title, name) for name, each in schema.get("properties", {}).items() if takes_image(each)}
    models = {model.__name__: model for model in subclasses(BaseModel)}
    assert named and all(name in image_fields(models[title]) for title, name in named)


def subclasses(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in model.__subclasses__():
        if each.__module__.startswith("jobs.requests"):
            yield each
        yield from subclasses(each)


IMAGE = f"img_{A}"
ARITHMETIC = {"mode": "arithmetic", "terms": [{"sign": "+", "image": IMAGE}, {"sign": "-", "seed": 1}]}
TEXT = {"mode": "image-to-image", "prompt": f"img_{B}", "negative_prompt": f"img_{B}", "image": IMAGE}
STEER: dict[str, Any] = {"collection": "col_" + "0" * 24, "style_from": f"img_{B}"}
STEER_PATH: dict[str, Any] = {"collection": "col_" + "0" * 24}


@pytest.mark.parametrize(
    ("kind", "params", "images"),
    [
        ("style-transfer", {"content": f"img_{A}", "style": f"img_{B}"}, [A, B]),
        ("style-transfer", {"content": f"img_{A}", "style": [{"image": "builtin:1"}, {"image": f"img_{B}"}]}, [A, B]),
        (
            "style-transfer",
            {"method": "gatys", "content": IMAGE, "style": [{"image": f"img_{B}", "mask": IMAGE, "style_mask": None}]},
            [A, B, A],
        ),
        ("generation", {"mode": "interpolate", "model": "any", "between": [f"img_{A}", 3]}, [A]),
        ("generation", {"model": "any", **ARITHMETIC}, [A]),
        ("pc-steering", STEER | {"start": {"text": f"img_{A}"}}, [B]),
        ("pc-steering", STEER | {"start": f"img_{A}"}, [A, B]),
        ("pc-animation", STEER_PATH | {"path": {"through": [f"img_{A}", {"cluster": 0}, f"img_{B}"]}}, [A, B]),
        ("pc-animation", STEER_PATH | {"path": {"component": 0, "start": f"img_{A}"}}, [A]),
        ("generation", {"model": "any", **TEXT}, [A]),
        ("collection", {"name": f"img_{A}", "space": "pixels", "data": f"zip_{B}"}, []),
        ("training", {"recipe": "ddpm", "data": f"zip_{B}", "title": f"img_{A}", "attributes": [f"img_{A}"]}, []),
    ],
)
def test_only_image_fields_hold_images(kind: str, params: dict[str, Any], images: list[str]) -> None:
    assert list(parse(kind, params).image_refs().values()) == [f"img_{sha}" for sha in images]


def test_only_data_holds_an_archive() -> None:
    def archives(**params: Any) -> tuple[str, ...]:
        return parse("training", {"recipe": "vae", **params}).uses().archives

    assert archives(data=f"zip_{A}", title=f"zip_{B}") == (A,)
    assert archives(data="digits", title=f"zip_{B}") == ()


def test_prompts_that_look_like_ids(stack: Stack) -> None:
    body = {"mode": "text-to-image", "model": "stable-diffusion-avatars", "num_inference_steps": 2, "upscale": 1}
    image, archive = "img_" + "0" * 64, "zip_" + "0" * 64
    for prompt, negative_prompt in ((image, archive), (archive, image)):
        prompts = {"prompt": prompt, "negative_prompt": negative_prompt}
        job = stack.client.post("/v1/generations", json=body | prompts).json()
        assert stack.finished(job["id"])["status"] == "succeeded"


def test_styles_have_names(stack: Stack) -> None:
    styles = stack.client.get("/v1/styles").json()["styles"]
    assert [style["number"] for style in styles] == list(range(26))
    assert len({style["name"] for style in styles}) == 26
    one = stack.client.post("/v1/style-transfers", json=FAST | {"style": "builtin:starry-blue", "seed": 1}).json()
    assert one["params"]["style"] == "builtin:19"
    assert stack.finished(one["id"])["status"] == "succeeded"


@pytest.mark.parametrize("number", range(26))
def test_name_is_its_number(number: int) -> None:
    def style(value: Any) -> Any:
        return STYLES.validate_python({"content": CAT, "style": value}).style

    assert style(f"builtin:{BUILTIN_NAMES[number]}") == f"builtin:{number}"
    assert style([{"image": f"builtin:{BUILTIN_NAMES[number]}"}])[0].image == f"builtin:{number}"


def test_texture_takes_a_size() -> None:
    def sides(**given: int) -> tuple[int, int]:
        params = STYLES.validate_python({"mode": "texture", "style": CAT, **given})
        assert STYLES.validate_python(params.model_dump(mode="json")) == params
        return params.width, params.height

    assert sides(size=96) == (96, 96)
    assert sides(width=96, height=64) == (96, 64)
    assert sides() == (512, 512)


COLLECTION = {"name": "x", "space": "vae-smileys", "data": "smileys", "limit": 40}
TRAINING = {"recipe": "vae", "data": "digits", "num_steps": 2, "batch_size": 8}
SEEDED: dict[str, tuple[str, dict[str, Any]]] = {
    "fast": ("style-transfers", FAST),
    "gatys": ("style-transfers", {"method": "gatys", "content": CAT, "style": CAT, "size": 64, "num_steps": 2}),
    "noise": (
        "style-transfers",
        {"mode": "texture", "style": CAT, "size": 64, "num_steps": 2, "style_losses": {"sliced-wasserstein": 1}},
    ),
    "inversion": ("style-transfers", {"mode": "inversion", "content": CAT, "size": 64, "num_steps": 2}),
    "guided": (
        "style-transfers",
        {"method": "diffusion", "model": "ddpm-digits", "style": CAT, "num_inference_steps": 2},
    ),
    "sample": ("generations", {"model": "dcgan-avatars", "n": 2}),
    "diffusion": ("generations", {"model": "ddpm-avatars", "n": 2, "num_inference_steps": 2, "scheduler": "ddpm"}),
    "seeds": ("generations", {"model": "vae-smileys", "seeds": [MAX_SEED, 2**32, 3]}),
    "interpolate": ("generations", {"mode": "interpolate", "model": "vae-smileys", "between": [MAX_SEED, 2**40]}),
    "traverse": ("generations", {"mode": "traverse", "model": "vae-smileys", "start": MAX_SEED}),
    "arithmetic": (
        "generations",
        {"mode": "arithmetic", "model": "dcgan-avatars", "terms": [{"sign": "+", "with": ["glasses"]}], "n": 1},
    ),
    "prompt": (
        "generations",
        {"mode": "text-to-image", "model": "stable-diffusion-avatars", "prompt": "a hat", "num_inference_steps": 2},
    ),
    "training": ("trainings", TRAINING),
    "collection": ("collections", COLLECTION),
}


@pytest.fixture(scope="module")
def seeded(stack: Stack) -> Iterator[dict[str, dict[str, Any]]]:
    """A finished job of each kind with the largest seed."""
    sent = {
        name: stack.client.post(f"/v1/{path}", json=body | {"seed": MAX_SEED}).json()["id"]
        for name, (path, body) in SEEDED.items()
    }
    made = {name: stack.finished(job_id, 120) for name, job_id in sent.items()}
    collection = made["collection"]["metrics"]["collection"]
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "sampling": ("cluster-samplings", {"n": 2}),
        "steering": ("pc-steerings", {"components": [{"component": 0, "strengths": [0, 1]}]}),
    }
    for name, (path, body) in asked.items():
        answer = stack.client.post(f"/v1/{path}", json=body | {"collection": collection, "seed": MAX_SEED})
        made[name] = stack.finished(answer.json()["id"], 120)
    yield made
    # Other tests of this installation count its models.
    assert stack.client.delete(f"/v1/collections/{collection}").status_code == 204
    assert stack.client.delete(f"/v1/models/{made['training']['metrics']['model']}").status_code == 204


@pytest.mark.parametrize("name", [*SEEDED, "sampling", "steering"])
def test_largest_seed(stack: Stack, seeded: dict[str, dict[str, Any]], name: str) -> None:
    """Every runner accepts it; the job, its outputs and events return it unchanged."""
    job = seeded[name]
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["params"]["seed"] == MAX_SEED
    seeds = [output["seed"] for output in job["outputs"]]
    assert MAX_SEED in seeds and all(isinstance(seed, int) and seed <= MAX_SEED for seed in seeds)
    lines = stack.client.get(job["urls"]["events"]).text.splitlines()
    snapshot = json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))
    assert snapshot["outputs"][0]["seed"] == seeds[0]


def test_seed_in_the_event_of_an_output(stack: Stack) -> None:
    """The job protocol copies outputs into events: no digit may be lost."""
    job = stack.client.post("/v1/style-transfers", json=FAST | {"seed": MAX_SEED}).json()
    with stack.client.stream("GET", job["urls"]["events"]) as answer:
        text = "".join(answer.iter_text())
    output = text.partition("event: output")[2].partition("data: ")[2].partition("\r\n")[0]
    if output:  # else it had ended before it was followed, and the snapshot has it
        assert json.loads(output)["seed"] == MAX_SEED
    events = stack.redis.xrange(f"atelier:events:{job['id']}")
    assert str(MAX_SEED) in str(events)


def test_seeds_above_32_bits_differ(stack: Stack) -> None:
    """PyTorch's generator reads 32 bits: equal low bits must not mean equal images."""
    shas = set()
    for seed in (5, 2**32 + 5, 2**33 + 5):
        body = {"model": "vae-smileys", "n": 1, "seed": seed}
        job = stack.client.post("/v1/generations", json=body, headers={"Prefer": "wait=25"}).json()
        shas.add(job["outputs"][0]["sha256"])
    assert len(shas) == 3


def test_blank_negative_prompt(stack: Stack) -> None:
    body = {"mode": "text-to-image", "model": "stable-diffusion-avatars", "prompt": "a hat", "negative_prompt": ""}
    answer = stack.client.post("/v1/generations", json=body | {"num_inference_steps": 2})
    assert answer.status_code == 202
    assert answer.json()["params"]["negative_prompt"] is None


def test_mixed_styles(stack: Stack) -> None:
    style = [{"image": data_url(image_file()), "weight": 1}, {"image": "builtin:3", "weight": 2}]
    answer = stack.client.post("/v1/style-transfers", json=FAST | {"style": style}, headers={"Prefer": "wait=25"})
    assert answer.json()["status"] == "succeeded"
