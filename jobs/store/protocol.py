"""The job protocol: a Lua script for each change, so that a change happens whole or not at all."""

import json
import re
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, Self

import redis

PREFIX = "atelier:"
DEFAULT_TENANT = "default"  # owns what is made without a key
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)  # buckets of histograms
SIZES = (1, 2, 4, 8, 16, 32)
_FILES = ("start", "keys", "helpers", "owners", "queues", "webhooks", "jobs", "upkeep", "objects", "processes")


def _source() -> str:
    """The whole protocol, each definition after what it uses."""
    bounds = {"SECONDS": SECONDS, "SIZES": SIZES}
    buckets = "".join(f"local {name} = {{{', '.join(map(str, each))}}}\n" for name, each in bounds.items())
    folder = Path(__file__).with_name("lua")
    return "\n".join([buckets, *(folder.joinpath(f"{name}.lua").read_text() for name in _FILES)])


SOURCE = _source()


def _scripts() -> dict[str, str]:
    """The script of each command: of all definitions, which begin at the start of a line, those that it needs.

    Redis runs every definition of a script at each call: those of all commands take longer than most commands do.
    """
    code = re.sub(r"('[^'\n]*')|--[^\n]*", r"\1", SOURCE)  # without comments
    parts = re.split(r"^(?=local |function )", code, flags=re.M)
    names = [set(re.findall(r"[\w.]+", re.split(r"[(=]", part)[0])) - {"local", "function"} for part in parts]
    uses = [_words(part) for part in parts]

    def script(command: str) -> str:
        needed, found = {command}, set[str]()
        while needed != found:
            found = set(needed)
            needed.update(*(used for own, used in zip(names, uses, strict=True) if own & found))
        chosen = [part for part, own in zip(parts, names, strict=True) if own & needed]
        # ARGV[1] is the name of the command, for the slow log of Redis.
        return "".join([*chosen, f"return {command}(cjson.decode(ARGV[2]))\n"])

    commands = [name for own in names for name in own if name.startswith("commands.")]
    return {command.removeprefix("commands."): script(command) for command in commands}


def _words(code: str) -> set[str]:
    """Every name that code may use; one that is only a field of a table, say, costs a definition too many at most."""
    code = re.sub(r"'[^'\n]*'", "''", code)  # without texts
    return {*re.findall(r"\w+", code), *re.findall(r"\w+\.\w+", code)}


SCRIPTS = _scripts()


class Protocol:
    """Calls the commands over one Redis client.

    With a `tenant` the commands see and change what belongs to it; without one everything.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.scripts = {command: client.register_script(script) for command, script in SCRIPTS.items()}
        self.tenant: str | None = None

    def of(self, tenant: str | None) -> Self:
        """Returns the same protocol for one tenant, or for all."""
        made = copy(self)
        made.tenant = tenant
        return made

    def call(self, command: str, **arguments: Any) -> Any:
        """Runs one command and returns its answer."""
        arguments |= {"tenant": self.tenant} if self.tenant else {}
        return self.scripts[command](args=[command, json.dumps(arguments)])

    def name(self, name: str) -> str:
        """The name of a key that each tenant has, without the prefix; those of `default` without a tenant."""
        return name if self.tenant in (None, DEFAULT_TENANT) else f"{self.tenant}/{name}"

    def owns(self, fields: Mapping[str, str]) -> bool:
        """Whether a record belongs to the tenant; those of earlier releases belong to `default`."""
        return self.tenant in (None, fields.get("tenant", DEFAULT_TENANT))
