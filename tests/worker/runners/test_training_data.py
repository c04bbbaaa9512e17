"""Images and captions of trainings, by the real runner, in this process, on a real Valkey."""

import json
from typing import Any

import pytest

from jobs.objects import Objects
from jobs.store.jobs import JobStore
from tests.worker.runners import trainings
from tests.worker.runners.trainings import archive, failure, png_files, train

jobs = trainings.jobs  # a fixture


def captioned(n: int) -> dict[str, bytes]:
    """`n` PNG files with captions in a table as Hugging Face has it."""
    rows = [json.dumps({"file_name": f"{index}.png", "text": f"noise of number {index}"}) for index in range(n)]
    return png_files(n) | {"metadata.jsonl": "\n".join(rows).encode()}


def test_a_training_on_the_images_of_an_archive(jobs: JobStore, objects: Objects) -> None:
    zip_id = archive(jobs, objects, png_files(20))
    brief = {"recipe": "vae", "data": zip_id, "image_size": 16, "batch_size": 8, "num_steps": 3, "limit": 18}
    record = train(jobs, objects, **brief)
    card = jobs.models.get(record.metrics["model"]).card
    assert card["architecture"]["name"] == "conv-vae"
    assert (card["training"]["images"], card["source"]["data"]) == (18, zip_id)


@pytest.mark.parametrize(
    ("files", "params", "why"),
    [
        (png_files(5), {}, "holds 5 images; at least 16 are needed"),
        (png_files(20), {"batch_size": 32}, "holds 20 images; at least 32 are needed"),
        (
            png_files(20) | dict.fromkeys(("3.png", "4.png", "5.png"), b"none"),
            {},
            "3 of 20 images cannot be used: '3.png'",
        ),
        (png_files(20), {"recipe": "classifier"}, "needs labels or attributes"),
        (captioned(20), {"recipe": "classifier"}, "captions such as 'noise of number 0' are not labels"),
        (captioned(20), {"recipe": "cyclegan"}, "two classes or an `attribute` are needed; there are"),
        (png_files(20), {"recipe": "cyclegan", "attribute": "wings"}, "there is no attribute 'wings'"),
    ],
)
def test_unusable_images_are_named(
    jobs: JobStore, objects: Objects, files: dict[str, bytes], params: dict[str, Any], why: str
) -> None:
    zip_id = archive(jobs, objects, files)
    record = train(jobs, objects, **{"recipe": "vae", "data": zip_id, "image_size": 16, "batch_size": 8, **params})
    error = failure(record)
    assert error["code"] == "bad_data"
    assert why in error["message"]


def test_a_bad_entry_is_skipped_and_named_in_the_metrics(jobs: JobStore, objects: Objects) -> None:
    bad = {"3.png": b"no image", "film.mp4": b"\0\0\0\x18ftypmp42"}
    zip_id = archive(jobs, objects, captioned(20) | bad)
    record = train(jobs, objects, recipe="vae", data=zip_id, image_size=16, batch_size=8, num_steps=2)
    assert record.status == "succeeded", record.error
    skipped, warnings = record.metrics["skipped"], record.metrics["warnings"]
    assert skipped["count"] == 2 and [each["name"] for each in skipped["entries"]] == ["3.png", "film.mp4"]
    assert all(each["reason"] for each in skipped["entries"])
    assert [each["code"] for each in warnings] == ["entries_skipped", "captions_not_used"]
    assert "2 entries of the archive are skipped: '3.png': " in warnings[0]["message"]
    assert jobs.models.get(record.metrics["model"]).card["training"]["images"] == 19


def test_a_zip_of_two_folders_trains_a_cyclegan(jobs: JobStore, objects: Objects) -> None:
    files = {f"{'day' if int(name[:-4]) % 2 else 'night'}/{name}": data for name, data in png_files(20).items()}
    asked = {"recipe": "cyclegan", "data": archive(jobs, objects, files), "image_size": 16}
    record = train(jobs, objects, **asked, batch_size=8, num_steps=2, base_channels=8, n_blocks=1)
    assert record.status == "succeeded", record.error
    assert jobs.models.get(record.metrics["model"]).card["architecture"]["kinds"] == ["day", "night"]
    assert (record.metrics["skipped"], record.metrics["warnings"]) == ({"count": 0, "entries": []}, [])
