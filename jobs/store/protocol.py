"""The job protocol: one Lua script with a command for each change, so that a change happens whole or not at all."""

import json
from pathlib import Path
from typing import Any

import redis

PREFIX = "atelier:"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)  # buckets of histograms
SIZES = (1, 2, 4, 8, 16, 32)
_FILES = ("helpers", "jobs", "upkeep", "objects", "processes", "keys")  # in the order in which they are joined
SCRIPT = "\n".join(
    [
        *(
            f"local {name} = {{{', '.join(map(str, bounds))}}}"
            for name, bounds in (("SECONDS", SECONDS), ("SIZES", SIZES))
        ),
        *(Path(__file__).with_name("lua").joinpath(f"{name}.lua").read_text() for name in _FILES),
        "return commands[ARGV[1]](cjson.decode(ARGV[2]))\n",
    ]
)


class Protocol:
    """Calls the commands of the script over one Redis client."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.script = client.register_script(SCRIPT)

    def call(self, command: str, **arguments: Any) -> Any:
        """Runs one command and returns its answer."""
        return self.script(args=[command, json.dumps(arguments)])
