"""Examples of requests, as openapi.json has them."""

import json
from collections.abc import Iterator
from typing import Any

from tests.stack import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text())


def examples() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Returns (path, name, body) of every request example."""
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for name, example in content.get("examples", {}).items():
                yield path, name, example["value"]
