"""Images and files as a caller has them: paths, bytes, open files, Pillow images, URLs and ids."""

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

from PIL import Image

from atelier_client.keys import FILE_KEYS, IMAGE_KEYS

ImageInput: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image
"""An id (`img_…`, `col_…/17`), an https or data URL, or an image to upload: a path, bytes, an open file, Pillow's."""
FileInput: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes]
"""A named set, an id (`zip_…`), or a file to upload: a zip, npz or parquet file, a film, or a folder of images."""

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"))
ARCHIVES = frozenset((".zip", ".npz", ".parquet", ".gif", ".webp", ".mp4"))


@dataclass(frozen=True)
class Upload:
    """A file to upload, and its sha256."""

    route: str  # /v1/images or /v1/archives
    name: str
    content: bytes | Path | IO[bytes]
    sha256: str


def uploads(params: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Upload]]:
    """The files in parameters, each with the path of keys and indices at which its id belongs.

    Raises:
        FileNotFoundError: A text has the suffix of an image or an archive, but there is no such file.
    """
    for key, value in params.items():
        yield from _uploads((key,), key, value)


def _uploads(where: tuple[str | int, ...], key: str, value: Any) -> Iterator[tuple[tuple[str | int, ...], Upload]]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _uploads((*where, name), name, each)
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            yield from _uploads((*where, i), key, each)
    elif (upload := upload_of(value, key)) is not None:
        yield where, upload


def upload_of(value: Any, key: str = "image") -> Upload | None:
    """The upload that a value of the field `key` needs; None of an id, a URL or a value that is no file."""
    if isinstance(value, str):
        suffixes = SUFFIXES if key in IMAGE_KEYS else frozenset[str]()
        suffixes |= ARCHIVES if key in FILE_KEYS else frozenset[str]()
        if not suffixes or value.startswith(("https://", "data:")):
            return None
        path = Path(value)
        if not (path.is_file() or (path.is_dir() and key in FILE_KEYS)):
            if path.suffix.lower() in suffixes:
                raise FileNotFoundError(f"`{key}`: there is no file {value}")
            return None
        value = path
    route = "/v1/archives" if key in FILE_KEYS - IMAGE_KEYS else "/v1/images"
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return _upload(route, "image.png", buffer.getvalue())
    if isinstance(value, os.PathLike):
        path = Path(value)
        return _upload(route, f"{path.name}.zip", _zipped(path)) if path.is_dir() else _upload(route, path.name, path)
    if isinstance(value, bytes | bytearray):
        return _upload(route, "file", bytes(value))
    if hasattr(value, "read"):
        return _upload(route, Path(str(getattr(value, "name", "file"))).name, value)
    return None


def _upload(route: str, name: str, content: bytes | Path | IO[bytes]) -> Upload:
    if isinstance(content, bytes):
        return Upload(route, name, content, hashlib.sha256(content).hexdigest())
    if isinstance(content, Path):
        with content.open("rb") as file:
            return Upload(route, name, content, _sha256(file))
    return Upload(route, name, content, _sha256(content))


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _zipped(folder: Path) -> IO[bytes]:
    """Writes the files of a folder and its sub-folders into a zip file, which is removed when it is closed.

    Images do not shrink, so they are stored; times are left out, so that the same files have the same sha256.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise FileNotFoundError(f"the folder {folder} has no files")
    file = tempfile.TemporaryFile(suffix=".zip")  # noqa: SIM115, the caller closes it
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            archive.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix()), path.read_bytes())
    return file


def replaced(params: Mapping[str, Any], ids: Mapping[tuple[str | int, ...], str]) -> dict[str, Any]:
    """A copy of parameters with `ids` in their places; a keyword's trailing underscore (`with_`) is left out."""
    return {key.removesuffix("_"): _replaced((key,), value, ids) for key, value in params.items()}


def _replaced(where: tuple[str | int, ...], value: Any, ids: Mapping[tuple[str | int, ...], str]) -> Any:
    if where in ids:
        return ids[where]
    if isinstance(value, Mapping):
        return {key: _replaced((*where, key), each, ids) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced((*where, i), each, ids) for i, each in enumerate(value)]
    return value
