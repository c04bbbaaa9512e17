"""The job protocol: a Lua script with a command for each change, so that a change happens whole or not at all."""

import json
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, Self

import redis

PREFIX = "atelier:"
DEFAULT_TENANT = "default"  # owns what is made without a key
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)  # buckets of histograms
SIZES = (1, 2, 4, 8, 16, 32)
_BUCKETS = "".join(
    f"local {name} = {{{', '.join(map(str, bounds))}}}\n" for name, bounds in (("SECONDS", SECONDS), ("SIZES", SIZES))
)


def _script(*files: str) -> str:
    """The script whose parts are these files, in their order."""
    parts = (Path(__file__).with_name("lua").joinpath(f"{name}.lua").read_text() for name in files)
    return "\n".join([_BUCKETS, *parts, "return commands[ARGV[1]](cjson.decode(ARGV[2]))\n"])


SCRIPT = _script("start", "helpers", "owners", "queues", "webhooks", "jobs", "upkeep", "objects", "processes")
# Each call defines every function of its script, which takes longer than to admit a request.
ADMISSION = _script("start", "keys")


class Protocol:
    """Calls the commands of the script over one Redis client.

    With a `tenant` the commands see and change what belongs to it; without one everything.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.script = client.register_script(SCRIPT)
        self.admission = client.register_script(ADMISSION)
        self.tenant: str | None = None

    def of(self, tenant: str) -> Self:
        """Returns the same protocol for one tenant."""
        made = copy(self)
        made.tenant = tenant
        return made

    def call(self, command: str, **arguments: Any) -> Any:
        """Runs one command and returns its answer."""
        arguments |= {"tenant": self.tenant} if self.tenant else {}
        script = self.admission if command == "admit" else self.script
        return script(args=[command, json.dumps(arguments)])

    def name(self, name: str) -> str:
        """The name of a key that each tenant has, without the prefix; those of `default` without a tenant."""
        return name if self.tenant in (None, DEFAULT_TENANT) else f"{self.tenant}/{name}"

    def owns(self, fields: Mapping[str, str]) -> bool:
        """Whether a record belongs to the tenant; those of earlier releases belong to `default`."""
        return self.tenant in (None, fields.get("tenant", DEFAULT_TENANT))
