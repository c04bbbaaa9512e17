"""Files that a command reads and writes: folders and globs in, a file or a folder out."""

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from atelier_client import Job, Output
from atelier_client.cli.options import refuse
from atelier_client.inputs import SUFFIXES

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif", ".mp4": "mp4"}
EXTENSIONS = {f"image/{name}": f".{name}" for name in ("png", "webp", "gif")}
EXTENSIONS |= {"image/jpeg": ".jpg", "video/mp4": ".mp4"}


def images_of(patterns: Sequence[str]) -> list[str]:
    """The images that files, folders and globs name, in order of their names; ids and URLs as they are."""
    return list(dict.fromkeys(each for pattern in patterns for each in _images_of(pattern)))


def _images_of(pattern: str) -> list[str]:
    path = Path(pattern)
    if path.is_file() or pattern.startswith(("img_", "col_", "https://", "data:")):
        return [pattern]
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207, it may be absolute
    images = [
        str(each)
        for each in sorted(found)
        if each.is_file() and each.suffix.lower() in SUFFIXES and not each.name.startswith(".")
    ]
    if not images:
        refuse(
            "FILES", f"must name images: there is none in {pattern}." if path.is_dir() else f"name no image: {pattern}."
        )
    return images


def check_output(output: Path | None, sources: Sequence[str]) -> None:
    """Refuses an output that cannot hold the results, or that would overwrite one of the sources."""
    if output is None:
        return
    if _is_folder(output):
        if any(Path(each).is_file() and Path(each).parent.resolve() == output.resolve() for each in sources):
            refuse("--output", f"must be another folder than {output}, whose images would be overwritten.")
    elif len(sources) > 1:
        refuse("--output", f"must be a folder for {len(sources)} images, not {output}.")
    elif output.suffix.lower() not in FORMATS:
        refuse("--output", f"must end in one of {', '.join(FORMATS)}, or be a folder, not {output}.")
    elif any(Path(each).resolve() == output.resolve() for each in sources):
        refuse("--output", f"must be another file than {output}, which would be overwritten.")
    elif not output.parent.is_dir():
        refuse("--output", f"must be in a folder that exists, not {output}.")


def format_of(output: Path | None) -> str | None:
    """The file format that the name of an output asks for."""
    return None if output is None or _is_folder(output) else FORMATS[output.suffix.lower()]


def names_of(sources: Sequence[str]) -> list[str]:
    """A name for the results of each source: its stem, or its whole name where another has the same stem."""
    stems = Counter(Path(each).stem for each in sources)
    return [Path(each).stem if stems[Path(each).stem] == 1 else Path(each).name for each in sources]


def save(job: Job, output: Path | None, name: str | None = None) -> list[str]:
    """Writes the outputs of a job and returns the paths."""
    return [str(_write(each, path)) for each, path in _targets(job, output, name)]


def _targets(job: Job, output: Path | None, name: str | None) -> Iterator[tuple[Output, Path]]:
    if output is not None and not _is_folder(output):
        yield main_output(job), output
        return
    several = len(job.outputs) > 1 or name is None or output is None
    for each in job.outputs:
        stem = job.id if output is None or name is None else name
        end = f"-{each.data['index']}" if several else ""
        yield each, (output or Path()) / f"{stem}{end}{EXTENSIONS[each.data['content_type']]}"


def _write(output: Output, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(output.read())
    return path


def main_output(job: Job) -> Output:
    """The one image or animation of a job, or the grid of several."""
    first = job.outputs[0]
    images = [each for each in job.outputs if each.role == first.role]
    grids = [each for each in job.outputs if each.role == "grid"]
    return grids[0] if len(images) > 1 and grids else first


def _is_folder(output: Path) -> bool:
    return output.is_dir() or not output.suffix
