"""Splits and classes of images from their folders."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from models.data.dataset import listed

_SPLIT = re.compile(r"(train|training|val|valid|validation|dev|test|testing|eval)[-_]?(\d{4}|[ab])?", re.IGNORECASE)
_REPEATS = re.compile(r"([1-9]\d{0,4})_(.+)")  # kohya's folders: the repeats of each image in an epoch, and a name

_SHARD = re.compile(r"\d{5}")  # numbered folders, as StyleGAN and img2dataset write them
_NUMBERED = re.compile(r"([a-z][a-z _-]*)\.\d+\.[a-z]+", re.IGNORECASE)
SMALL = 10  # images; in larger sets there are fewer classes than half of the images


@dataclass
class Layout:
    """Layout of n images in folders.

    used: indices of the training images. labels: the class of each image by its folder, if folders are classes.
    wrong: the used images without a class, with the reason. warnings: about folders that are not used.
    """

    used: list[int]
    labels: dict[int, str] | None = None
    wrong: dict[int, str] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)


def is_split(name: str) -> bool:
    """Returns whether a folder or cell names a split: train, val2017, testA."""
    return _SPLIT.fullmatch(name) is not None


def is_training(name: str) -> bool:
    """Returns whether a folder or cell names the training split."""
    return is_split(name) and name.lower().startswith("train")


def layout_of(names: Sequence[str], samples: Sequence[int]) -> Layout:
    """Assigns splits, then classes, by the folders below the common one."""
    below = _below_shared({index: names[index].split("/")[:-1] for index in samples})
    tops = {index: folders[0] if folders else "" for index, folders in below.items()}
    if not all(map(is_split, tops.values())):
        layout = Layout(list(below))
        _take_classes(layout, names, below)
        return layout
    layout = Layout([index for index, top in tops.items() if is_training(top)] or list(tops))
    if len(layout.used) < len(tops):
        others = sorted({top for top in tops.values() if not is_training(top)})
        left = f"{len(tops) - len(layout.used)} images in {listed(others)}"
        message = f"Only the images for training are used; {left} are left out."
        layout.warnings.append({"code": "splits_not_used", "message": message})
    sides = {index: _SPLIT.fullmatch(tops[index])[2] for index in layout.used}  # type: ignore[index]
    if {str(side).upper() for side in sides.values()} == {"A", "B"}:  # trainA and trainB, as in the sets of CycleGAN
        layout.labels = {index: side.upper() for index, side in sides.items()}
    else:
        _take_classes(layout, names, _below_shared({index: below[index][1:] for index in layout.used}))
    return layout


def without_repeats(layout: Layout) -> None:
    """Removes kohya's repeat counts from the names of classes if all have them: `10_cat` is cat."""
    matches = {label: _REPEATS.fullmatch(label) for label in set((layout.labels or {}).values())}
    if not layout.labels or not all(matches.values()):
        return
    parts = {label: match.groups() for label, match in matches.items() if match}
    layout.labels = {index: parts[label][1] for index, label in layout.labels.items()}
    if len({repeats for repeats, _ in parts.values()}) > 1:
        message = f"Every image counts once: the repeats of {listed(sorted(parts))} are not used."
        layout.warnings.append({"code": "repeats_not_used", "message": message})


def _below_shared(folders: dict[int, list[str]]) -> dict[int, list[str]]:
    lowest, highest = min(folders.values(), default=[]), max(folders.values(), default=[])
    pairs = zip(lowest, highest, strict=False)
    depth = next((depth for depth, (low, high) in enumerate(pairs) if low != high), min(len(lowest), len(highest)))
    return {index: each[depth:] for index, each in folders.items()}


def _take_classes(layout: Layout, names: Sequence[str], below: dict[int, list[str]]) -> None:
    """Uses the first folder as the class, unless many images have no folder or most have a folder of their own."""
    beside = [index for index, folders in below.items() if not folders]
    labels = {index: folders[0] for index, folders in below.items() if folders}
    if not labels:
        layout.labels = _classes_by_name({index: names[index] for index in below})
        return
    if len(beside) * 10 > len(below):
        those = (
            f"{len(beside)} of {len(below)} images lie in none of them: {listed([names[index] for index in beside])}"
        )
        layout.warnings.append(_not_classes(those))
    elif len(labels) >= SMALL and len(set(labels.values())) > len(labels) // 2:
        those = f"{len(labels)} images lie in {len(set(labels.values()))} of them"
        layout.warnings.append(_not_classes(those))
    elif _are_shards(labels, names):
        layout.warnings.append(_not_classes("they only group the images by their numbers"))
    else:
        layout.labels = labels
        layout.wrong = dict.fromkeys(beside, "it lies in none of the folders, which are the classes")


def _are_shards(labels: dict[int, str], names: Sequence[str]) -> bool:
    """Returns whether folders such as 00000 and 01000 have images numbered across all of them."""
    stems = [PurePosixPath(names[index]).stem for index in sorted(labels, key=lambda index: names[index])]
    return all(map(_SHARD.fullmatch, labels.values())) and len(set(stems)) == len(stems) and stems == sorted(stems)


def _classes_by_name(names: dict[int, str]) -> dict[int, str] | None:
    """Returns the classes of names such as cat.0.jpg and dog.0.jpg, as on Kaggle, if all images have such names."""
    matches = {index: _NUMBERED.fullmatch(PurePosixPath(name).name) for index, name in names.items()}
    labels = {index: match[1] for index, match in matches.items() if match}
    few = 2 <= len(set(labels.values())) <= len(labels) // 2
    return labels if few and len(labels) == len(names) else None


def _not_classes(because: str) -> dict[str, str]:
    return {"code": "folders_not_used", "message": f"Sub-folders are not read as classes, because {because}."}
