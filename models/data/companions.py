"""Companion images, which belong to other images and are not samples: masks, label maps, conditioning images."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from models.data.dataset import listed

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "photos", "rgb")
COMPANION_FOLDERS = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "trimaps", "gt", "groundtruth", "ground_truth"),
    *("segmentationclass", "segmentationobject", "depth", "edges", "conditioning", "conditioning_images"),
}
ENDINGS = ("-masklabel", "-condlabel", "_mask", "-mask", "_segmentation")  # as in a_mask.png beside a.jpg


def companions(names: Sequence[str]) -> set[int]:
    """Indices of images in a folder such as masks beside a folder of images, and of a_mask.png beside a.png."""
    folders = {tuple(parts[:depth]) for parts in map(_folders, names) for depth in range(1, min(len(parts), 8) + 1)}
    stems = {_stem(name) for name in names}
    return {
        index
        for index, name in enumerate(names)
        if _has_images_beside(_folders(name), folders)
        or any(_stem(name).endswith(end) and _stem(name).removesuffix(end) in stems for end in ENDINGS)
    }


def warning_of(names: Sequence[str]) -> dict[str, str]:
    """Returns a warning that names the companion images, which are not used."""
    message = f"{len(names)} images belong to other images, for example as masks, and are left out: {listed(names)}."
    return {"code": "companions_not_used", "message": message}


def _has_images_beside(parts: list[str], folders: set[tuple[str, ...]]) -> bool:
    return any(
        part in COMPANION_FOLDERS and any((*parts[:depth], images) in folders for images in IMAGE_FOLDERS)
        for depth, part in enumerate(parts[:8])
    )


def _folders(name: str) -> list[str]:
    return name.casefold().split("/")[:-1]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")).casefold()
