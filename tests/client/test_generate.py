"""What client/generate.py writes is in step with openapi.json, docs/reference/errors.md and the asynchronous half."""

from typing import Any, get_type_hints

import pytest
from generate import _type, _unique, generated

from atelier_client.errors import REQUESTS, failed, status
from atelier_client.inputs import ImageInput
from atelier_client.types import GenerationParams, StyleTransferParams
from atelier_client.types.responses import JobData


def test_generated_files_are_in_step() -> None:
    stale = [path.name for path, text in generated().items() if not path.is_file() or path.read_text() != text]
    assert not stale, "run scripts/openapi"


def test_fields_of_all_methods_are_one_type() -> None:
    fields = get_type_hints(StyleTransferParams)
    assert {"content", "style", "num_steps", "layers", "style_guidance_scale"} <= fields.keys()
    assert fields["content"] == ImageInput | None
    assert "prompt" in get_type_hints(GenerationParams)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer"}, "int"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "str | None"),
        ({"type": "array", "items": {"type": "string", "format": "image-ref"}}, "list[ImageInput]"),
        ({"type": "string", "enum": ["a", "b"]}, "Literal['a', 'b']"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "dict[str, float]"),
    ],
)
def test_type(schema: dict[str, object], expected: str) -> None:
    assert _type(schema, {}, set()) == expected


def test_object_with_any_fields_is_a_dict() -> None:
    assert get_type_hints(JobData)["metrics"] == dict[str, Any]


def test_union_has_each_type_once_and_none_last() -> None:
    assert _unique("None | dict[str, int | str] | int | int") == "dict[str, int | str] | int | None"
    assert _unique("str | ImageInput") == "ImageInput"  # which contains str


def test_exceptions_follow_the_status() -> None:
    assert issubclass(REQUESTS["image_not_found"], status.NotFoundError)
    assert issubclass(REQUESTS["image_too_large"], status.TooLargeError)
    assert issubclass(failed.BY_CODE["out_of_memory"], status.JobFailedError)
    assert REQUESTS["not_found"] is status.NotFoundError
