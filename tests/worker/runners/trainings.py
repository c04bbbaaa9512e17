"""Steps that the tests of trainings share."""

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from jobs.objects import Objects
from jobs.requests.training import Training
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from tests.worker.tasks import run_job

PARAMS: TypeAdapter[Training] = TypeAdapter(Training)

VAE: dict[str, Any] = {
    "recipe": "vae",
    "data": "digits",
    "limit": 64,
    "batch_size": 16,
    "num_steps": 40,
    "checkpoint_every": 10,
}


@pytest.fixture
def jobs(jobs: JobStore, tmp_path: Path) -> JobStore:
    """A job store without trained models."""
    return JobStore(jobs.client, jobs.settings.model_copy(update={"weights_dir": tmp_path / "weights"}))


def queue(jobs: JobStore, retry_of: str = "", **params: Any) -> str:
    """Stores a training as the API does; returns its id."""
    parsed = PARAMS.validate_python({"seed": 3, **params})
    stored = parsed.model_dump(mode="json", exclude={"priority", "expires_in", "webhook_url"})
    archives = [parsed.archive] if parsed.archive else []
    return jobs.create(NewJob(kind="training", queue="train", params=stored, archives=archives, retry_of=retry_of))[0]


def work(jobs: JobStore, objects: Objects) -> Record:
    """Claims a training and runs it to a terminal state."""
    [record] = jobs.claim("train", worker="test")
    run_job(jobs, objects, record)
    return jobs.get(record.id)


def train(jobs: JobStore, objects: Objects, **params: Any) -> Record:
    queue(jobs, **params)
    return work(jobs, objects)


def weights(jobs: JobStore, record: Record) -> str:
    """The sha256 of the weights of a training."""
    assert record.status == "succeeded", record.error
    return str(jobs.models.get(record.metrics["model"]).card["files"]["model.safetensors"])


def failure(record: Record) -> dict[str, Any]:
    assert record.status == "failed" and record.error is not None
    json.dumps(record.error, allow_nan=False)
    return record.error


def archive(jobs: JobStore, objects: Objects, files: dict[str, bytes]) -> str:
    """Stores a zip file; returns its id."""
    data = BytesIO()
    with zipfile.ZipFile(data, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    sha = objects.put_file(BytesIO(data.getvalue()), "application/zip")
    jobs.archives.put(sha, {"n_files": len(files)})
    return f"zip_{sha}"


def png_files(n: int) -> dict[str, bytes]:
    """`n` small PNG files of noise, by name."""
    found = {}
    for index in range(n):
        file = BytesIO()
        noise = np.random.default_rng(index).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "PNG")
        found[f"{index}.png"] = file.getvalue()
    return found
