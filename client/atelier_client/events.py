"""Events of a job."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event: its `type` (`snapshot`, `status`, `progress`, `preview`, `output`), data, and id to resume after."""

    type: str
    data: dict[str, Any]
    id: str
