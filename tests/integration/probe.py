"""The request of the test kind `probe`; see kinds.py."""

from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field

from jobs.requests.base import Request
from jobs.requests.kinds import KINDS


class Probe(Request):
    """A job that takes steps, and dies where a test says."""

    kind: ClassVar[str] = "probe"

    steps: Annotated[int, Field(ge=1)] = 1
    step_s: Annotated[float, Field(ge=0)] = 0.0
    die_at: Literal["receipt", "claim", "run", "artifact", "state"] | None = None
    die_times: int = 1
    runs_on: Annotated[Literal["fast", "gpu"], Field(validation_alias=AliasChoices("queue", "runs_on"))] = "fast"

    @property
    def queue(self) -> str:
        """The queue asked for."""
        return self.runs_on


KINDS["probe"] = Probe
