"""Where the service is: arguments, then environment, then the file that `atelier login` writes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

DEFAULT_URL = "http://127.0.0.1:8000"
BACKOFF_S, MAX_BACKOFF_S = 0.25, 30.0  # between two attempts, doubled each time; a Retry-After counts instead


def config_path() -> Path:
    """The file of `atelier login`: `atelier/config.json` below `XDG_CONFIG_HOME` or `~/.config`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "atelier" / "config.json"


@dataclass(frozen=True)
class Connection:
    """The address of a service and the API key for it."""

    base_url: str
    api_key: str | None

    @classmethod
    def resolved(cls, base_url: str | None, api_key: str | None) -> Self:
        """What is given, else `ATELIER_URL` and `ATELIER_API_KEY`, else the config file; a key only for its own URL."""
        path = config_path()
        stored = json.loads(path.read_text()) if path.is_file() else {}
        url = (base_url or os.environ.get("ATELIER_URL") or stored.get("url") or DEFAULT_URL).rstrip("/")
        key = api_key or os.environ.get("ATELIER_API_KEY")
        return cls(url, key or (stored.get("api_key") if stored.get("url") == url else None))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def store(self) -> None:
        """Writes the config file, which only its owner can read."""
        path = config_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.unlink(missing_ok=True)
        with open(part, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump({"url": self.base_url, "api_key": self.api_key}, file)
        part.replace(path)
