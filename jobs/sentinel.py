"""The address of a Redis that Sentinels watch: `sentinel://[user:password@]host:port,host:port/name?db=0`."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SCHEME = "sentinel://"
PORT = 26379


@dataclass(frozen=True)
class SentinelAddress:
    """Where the Sentinels are, the name that they give the primary, and how to log in to both.

    `redis` holds db, username and password for the primary, `sentinel` the password of the Sentinels, if they have one.
    """

    hosts: list[tuple[str, int]]
    name: str
    redis: dict[str, Any]
    sentinel: dict[str, Any]


def parse_address(url: str) -> SentinelAddress:
    """Parses the URL; raises ValueError."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = (unquote(each) for each in login.partition(":"))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    name = parts.path.strip("/")
    if not hosts or not name or query.keys() - {"db", "sentinel_password"}:
        raise ValueError("must be sentinel://host:port,host:port/name, with ?db= and &sentinel_password= where needed")
    logins = {"username": username or None, "password": password or None}
    own = {"password": query["sentinel_password"]} if "sentinel_password" in query else {}
    return SentinelAddress(
        [_host(each) for each in hosts.split(",")], name, {"db": int(query.get("db", 0)), **logins}, own
    )


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("must name the host of each Sentinel")
    return parts.hostname, parts.port or PORT
