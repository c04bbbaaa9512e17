"""Figures of jobs as JSON holds them."""

import math
from typing import Any


def json_figures(value: Any) -> Any:
    """Figures with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {name: json_figures(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_figures(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
