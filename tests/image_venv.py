"""Makes virtual environments that hold what an image installs, of links to packages that are installed here."""

import sys
import venv
import zipfile
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

SITE = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def image_venv(folder: Path, requirements: Iterable[str], wheel: Path) -> Path:
    """Makes a virtual environment with the requirements, what they need and nothing else, and the wheel of Atelier.

    `.[extra]` is Atelier itself. Versions are those installed here, which are those of the lock.
    """
    venv.create(folder, symlinks=True)
    wanted = [Requirement(each.replace(".[", "atelier[")) for each in requirements]
    for each in _closure(wanted):
        _link(each, folder)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / SITE)
    return folder


def _closure(wanted: list[Requirement]) -> list[Distribution]:
    """The distributions that pip would install for the requirements, but Atelier."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    while wanted:
        asked = wanted.pop()
        for extra in ("", *sorted(asked.extras)):
            if (asked.name, extra) in seen:
                continue
            seen.add((asked.name, extra))
            found[asked.name] = distribution(asked.name)
            needed = map(Requirement, found[asked.name].requires or [])
            wanted += [each for each in needed if not each.marker or each.marker.evaluate({"extra": extra})]
    return [each for name, each in found.items() if name != "atelier"]


@cache
def _owners() -> Counter[str]:
    """How many distributions have files in each folder or file of the packages' folder."""
    return Counter(top for each in distributions() for top in {file.parts[0] for file in each.files or ()})


def _link(package: Distribution, folder: Path) -> None:
    """Links a distribution's files, whole folders where it alone has files in them, and copies its commands."""
    for file in package.files or ():
        here = Path(str(package.locate_file(file))).resolve()
        if file.parts[0] == "..":
            if here.parent.name == "bin" and (text := here.read_bytes()).startswith(b"#!"):
                script = folder / "bin" / here.name
                script.write_bytes(b"#!%s\n" % bytes(folder / "bin" / "python") + text.partition(b"\n")[2])
                script.chmod(0o755)
            continue
        part = Path(file.parts[0]) if _owners()[file.parts[0]] == 1 else Path(file)
        link = folder / SITE / part
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(Path(str(package.locate_file(part))).resolve())
