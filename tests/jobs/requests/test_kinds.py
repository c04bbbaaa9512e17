import hashlib
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from jobs.requests.base import Request
from jobs.requests.kinds import KINDS, parse
from jobs.schemas import Kind
from jobs.store.records import FORMAT, QUEUES

A = "img_" + "a" * 64
COLLECTION = "col_" + "0" * 24
LEAST: dict[str, dict[str, Any]] = {
    "style-transfer": {"content": A, "style": "builtin:1"},
    "generation": {"model": "any"},
    "training": {"recipe": "vae", "data": "digits"},
    "collection": {"name": "Digits", "space": "pixels", "data": "digits"},
    "collection-plots": {"collection": COLLECTION, "component": 0},
    "collection-search": {"collection": COLLECTION, "member": 0, "with": ["glasses"]},
    "pc-steering": {"collection": COLLECTION, "components": [{"component": 0}]},
    "cluster-sampling": {"collection": COLLECTION},
    "pc-animation": {"collection": COLLECTION, "path": {"component": 0}},
    "model": {
        **{"id": "ink", "title": "Ink", "license": "MIT", "task": "lora", "base": "stable-diffusion-avatars"},
        **{"url": "https://weights.example/ink.safetensors"},
    },
}


def test_every_kind_is_tested_here() -> None:
    assert LEAST.keys() == KINDS.keys() - {"probe", "test"}  # tests add those two to it


def test_jobs_of_every_kind_can_be_listed() -> None:
    assert set(get_args(Kind)) == LEAST.keys()


@pytest.mark.parametrize("kind", LEAST)
def test_a_record_is_read_as_the_request_that_it_was(kind: str) -> None:
    request = parse(kind, LEAST[kind])
    assert (request.kind, request.queue) in {(kind, queue) for queue in QUEUES}
    assert parse(kind, request.stored()) == request
    assert not request.stored().keys() & {"priority", "expires_in", "webhook_url"}


@pytest.mark.parametrize(
    ("kind", "body", "old", "new", "value"),
    [
        ("style-transfer", {}, "preserve_colour", "preserve_color", "luminance"),
        ("style-transfer", {"method": "gatys", "style": A}, "preserve_colour", "preserve_color", "histogram"),
        ("collection", {}, "standardise", "standardize", True),
        ("collection", {"collection": COLLECTION}, "standardise", "standardize", False),
        ("cluster-sampling", {}, "neighbours", "neighbors", 3),
    ],
)
def test_earlier_names_of_fields_are_read(kind: str, body: dict[str, Any], old: str, new: str, value: Any) -> None:
    def stored(name: str) -> dict[str, Any]:
        return parse(kind, LEAST[kind] | body | {name: value}).stored()

    assert stored(old) == stored(new) and stored(old)[new] == value and old not in stored(old)


def without_texts(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: without_texts(v) for k, v in schema.items() if k not in ("description", "examples", "title")}
    return [without_texts(each) for each in schema] if isinstance(schema, list) else schema


def test_a_change_of_the_requests_raises_the_format_once_after_a_release() -> None:
    """A worker of the last release refuses fields that it does not know, so it must leave their jobs to newer ones."""
    schemas = {kind: without_texts(TypeAdapter(KINDS[kind]).json_schema()) for kind in LEAST}
    digest = hashlib.sha256(json.dumps(schemas, sort_keys=True).encode()).hexdigest()
    released: dict[str, Any] = json.loads(Path(__file__).with_name("released.json").read_text())
    assert digest == released["schemas"] or released["format"] < FORMAT, (
        "The requests differ from those of the last release, and FORMAT in jobs/store/records.py does not: raise it. "
        f"At a release write to released.json: format {FORMAT}, schemas {digest}"
    )


@pytest.mark.parametrize("kind", LEAST)
def test_images_are_replaced_in_a_copy(kind: str) -> None:
    request: Request = parse(kind, LEAST[kind])
    others = dict.fromkeys(request.image_refs(), "img_" + "b" * 64)
    changed = request.with_images(others)
    assert changed.image_refs() == others
    assert parse(kind, LEAST[kind]) == request


def models_in(annotation: Any, seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """Every pydantic model that an annotation names, those in its fields included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in seen:
            seen.add(annotation)
            for field in annotation.model_fields.values():
                models_in(field.annotation, seen)
                for each in field.metadata:
                    models_in(each, seen)
        return seen
    for part in get_args(getattr(annotation, "__value__", annotation)):
        models_in(part, seen)
    return seen


MODELS = sorted(models_in(tuple[tuple(KINDS.values())], set()), key=lambda model: model.__name__)  # type: ignore[misc]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_integer_may_be_written_with_a_point(model: type[BaseModel]) -> None:
    # JSON does not distinguish 64 and 64.0. Other errors, such as those of ranges, are not about the type.
    for field in model.model_fields:
        for value in (3.0, [3.0, 3.0]):
            try:
                model.model_validate({field: value})
            except ValidationError as error:
                floats = [problem for problem in error.errors() if isinstance(problem["input"], float)]
                assert "int_type" not in {problem["type"] for problem in floats}, field
