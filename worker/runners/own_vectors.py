"""Members of a collection from embeddings that the user brings, with the images in a zip file, if there are any."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.intake.vectors import Embeddings, read_embeddings
from jobs.requests.base import filled
from jobs.requests.collection import BuildRequest
from jobs.requests.facts import check_dim
from jobs.settings import get_settings
from models.data.archive import Limits, open_files
from models.data.image import read_image
from models.errors import DataError
from models.space.collection import Members
from worker.files import Files
from worker.run import Pixels, Task
from worker.runners.archive import MAX_ENTRIES
from worker.runners.plots import THUMBNAIL
from worker.runners.side_files import encoded_images
from worker.runners.space import LoadedSpace

IMAGE_SIDE = 224  # pixels of a stored image of a member
BLANK = np.full((THUMBNAIL, THUMBNAIL, 3), 255, np.uint8)


def own_members(
    task: Task[BuildRequest],
    files: Files,
    space: LoadedSpace,
    existing: Members | None,
    on_read: Callable[[int], None],
) -> tuple[Members, list[bytes]]:
    """The existing members and those of `vectors`; and the files of the new images, b"" where there is none.

    Raises BadInput and DataError.
    """
    params = task.params
    with TemporaryDirectory(prefix=f"atelier-{files.job_id}-") as folder:
        path = Path(folder) / "vectors"
        files.fetch(filled(params.vector_file), path)
        embeddings = read_embeddings(path)
        _check_dim(embeddings, space, params.space, existing)
        new = _new_rows(embeddings, existing)
        thumbnails, images = _blank(len(new)), [b""] * len(new)
        if params.archive:
            images_path = Path(folder) / "images.zip"
            files.fetch(params.archive, images_path)
            thumbnails, images = _read_images(task, images_path, embeddings, new, on_read)
    unused = [*embeddings.unused, *(["images"] if embeddings.images and not params.archive else [])]
    if unused:
        task.warn("columns_not_used", f"Columns of `vectors` that are not used: {', '.join(unused[:10])}.")
    ids = np.array([embeddings.ids[row] for row in new])
    attributes = _attributes(embeddings, new)
    digests = np.full(len(new), "")
    members = Members(embeddings.vectors[new], thumbnails, ids, *attributes, digests=digests)
    return members if existing is None else existing + members, images


def _check_dim(embeddings: Embeddings, space: LoadedSpace, name: str, existing: Members | None) -> None:
    dim = embeddings.vectors.shape[1]
    if existing is not None:
        check_dim(dim, existing.vectors.shape[1], "the collection")
    if space.space:
        check_dim(dim, space.space.dim, f"the space {name}")


def _new_rows(embeddings: Embeddings, existing: Members | None) -> list[int]:
    """Rows whose ids are not yet in the collection."""
    known = set() if existing is None else set(existing.names.tolist())
    new = [row for row, each in enumerate(embeddings.ids) if each not in known]
    if not new:
        raise DataError("the collection has all of these ids already")
    return new


def _attributes(embeddings: Embeddings, rows: list[int]) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    """Each label as an attribute; unknown for members without one."""
    labels = np.array([embeddings.labels[row] for row in rows] if embeddings.labels else [""] * len(rows))
    names = tuple(sorted({str(label) for label in labels if label}))
    table = (labels[:, None] == np.array(names, dtype=str)).astype(np.int8)
    table[labels == ""] = -1
    return table, names


def _blank(n: int) -> Pixels:
    return np.broadcast_to(BLANK, (n, *BLANK.shape))


def _read_images(
    task: Task, path: Path, embeddings: Embeddings, rows: list[int], on_read: Callable[[int], None]
) -> tuple[Pixels, list[bytes]]:
    """Thumbnails and files of the images, by the column `images` or else by ids; warns of those that are missing."""
    thumbnails, images = _blank(len(rows)).copy(), [b""] * len(rows)
    missing: list[tuple[str, str]] = []
    with open_files(path, Limits(pixels=get_settings().max_pixels)) as files:
        by_stem = {PurePosixPath(name).stem: name for name in files.openers}
        for place, row in enumerate(rows):
            name = embeddings.images[row] if embeddings.images else embeddings.ids[row]
            entry = name if name in files.openers else by_stem.get(name)
            if place % 50 == 0:
                on_read(place)
            try:
                if entry is None:
                    raise DataError("not in the archive")
                square = read_image(files.read(entry), IMAGE_SIDE, 3, files.limits.pixels)
            except DataError as error:
                missing.append((name, str(error)))
                continue
            small = Image.fromarray(square).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
            thumbnails[place] = np.asarray(small)
            images[place] = encoded_images(square[None])[0]
    if missing:
        entries = [{"name": name, "reason": reason} for name, reason in missing[:MAX_ENTRIES]]
        task.notes["skipped"] = {"count": len(missing), "entries": entries}
        first = "; ".join(f"{name!r}: {reason}" for name, reason in missing[:3])
        task.warn("entries_skipped", f"{len(missing):,} of {len(rows):,} members have no image: {first}.")
    return thumbnails, images
