"""One style over many images, by the real network."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from jobs.errors import AtelierError
from jobs.requests.kinds import parse
from models.catalogue import card
from models.data.smileys import smiley
from tests.worker.tasks import run_alone
from worker.run import JobResult, Task

IMAGES = {f"img_{digit * 64}": smiley(5, i)[0] for i, digit in enumerate("012")}


class Archive:
    """The files of a job whose archive holds these entries."""

    job_id = "job_1"

    def __init__(self, entries: dict[str, bytes]) -> None:
        self.entries = entries

    def fetch(self, sha: str, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in self.entries.items():
                archive.writestr(name, data)


def png(image: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def run(entries: dict[str, bytes] | None = None, **params: Any) -> tuple[JobResult, Task, list[tuple[int, int, str]]]:
    steps: list[tuple[int, int, str]] = []

    def step(done: int, total: int, message: str, image: Any = None) -> None:
        assert image is None or image().dtype == np.uint8
        steps.append((done, total, message))

    asked = {"mode": "many", "style": "builtin:19", "size": 64, "seed": 1, "limit": 3, **params}
    files = cast(Any, Archive(entries or {}))
    task = Task(parse("style-transfer", asked), step, IMAGES.__getitem__, card, files)
    return run_alone(task), task, steps


def test_the_images_of_a_list_are_those_of_single_jobs() -> None:
    made, _, steps = run(contents=list(IMAGES))
    assert [step[:2] for step in steps] == [(1, 3), (2, 3), (3, 3)] and made.metrics == {"n_images": 3}
    for image, output in zip(IMAGES, made.images, strict=True):
        alone = {"content": image, "style": "builtin:19", "size": 64, "seed": 1}
        single = run_alone(
            Task(parse("style-transfer", alone), lambda *_: None, IMAGES.__getitem__, card, cast(Any, None))
        )
        np.testing.assert_array_equal(output.pixels, single.images[0].pixels)
        assert made.models == single.models


def test_damaged_images_of_an_archive_are_skipped_and_named() -> None:
    good = [png(image) for image in IMAGES.values()]
    entries = {
        **{"b/cat.png": good[0], "a dog.png": good[1], "broken.png": good[2][:60], "notes.txt": b"hello"},
        **{"thin.png": png(np.zeros((16, 400, 3), np.uint8)), "__MACOSX/x.png": b"", "noise.bin": b"\1\2\3"},
    }
    made, task, steps = run(entries, contents="zip_" + "0" * 64, limit=9)
    assert [image.name for image in made.images] == ["a dog.png", "b/cat.png"]
    assert steps[-1] == (2, 9, "b/cat.png")
    skipped = {each["name"]: each["reason"] for each in task.notes["skipped"]["entries"]}
    assert skipped.keys() == {"broken.png", "thin.png", "noise.bin"} and "shorter side" in skipped["thin.png"]
    assert task.notes["skipped"]["count"] == 3 and task.warnings[0]["code"] == "entries_skipped"


def test_an_archive_without_a_usable_image_fails() -> None:
    with pytest.raises(AtelierError, match="None of the 1 files is an image") as error:
        run({"broken.png": png(IMAGES["img_" + "0" * 64])[:60]}, contents="zip_" + "0" * 64)
    assert error.value.code == "bad_data"
