"""What the tools share."""

from dataclasses import dataclass

from atelier_client import AsyncAtelier


@dataclass(frozen=True)
class State:
    """The client, and whether tools may read files of this machine."""

    atelier: AsyncAtelier
    files: bool
