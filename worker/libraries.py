"""Versions of the installed libraries, which the recipes of images name."""

from functools import cache
from importlib.metadata import version

_cached_version = cache(version)  # reading the metadata of torch takes 2 ms, and every job names it


def versions_of(*names: str) -> dict[str, str]:
    """Returns the installed version of each package; raises PackageNotFoundError."""
    return {name: _cached_version(name) for name in names}
