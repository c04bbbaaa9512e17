"""Steps that the tests of collections share, on a real Valkey, with shipped weights."""

from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from PIL import Image

from jobs.objects import Objects
from jobs.requests.collection import AdditionParams, CollectionParams, built
from jobs.requests.plots import PlotParams
from jobs.requests.search import SearchParams
from jobs.requests.steering import ClusterSampling, Steering
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from jobs.store.registry import NEW, CollectionRecord
from models.space.collection import FittedCollection, load_collection
from tests.worker.tasks import run_job

SMILEYS: dict[str, Any] = {
    **{"name": "Smileys", "space": "vae-smileys", "data": "smileys", "limit": 80, "n_components": 14, "seed": 3},
    "clusterings": [
        {"method": "kmeans", "n_clusters": 3},
        {"method": "mixture", "n_components": 2},
        {"method": "agglomerative", "n_clusters": 4},
        {"method": "hdbscan", "min_cluster_size": 3},
    ],
}

DIGITS: dict[str, Any] = {
    **{"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1, "data": "digits", "limit": 60, "seed": 1},
}


def found(installation: tuple[JobStore, Objects], params: dict[str, Any]) -> Record:
    stored = CollectionParams(**params).fitted().model_dump(mode="json")
    return work(installation, kind="collection", params=stored, collection=NEW)


def add(installation: tuple[JobStore, Objects], collection: CollectionRecord, **params: Any) -> Record:
    stored = AdditionParams(**{"seed": 3, **params}).next_version(built(collection.params), collection.id)
    return work(installation, kind="collection", params=stored.model_dump(mode="json"), collection=collection.id)


def steer(installation: tuple[JobStore, Objects], smileys: Record, **params: Any) -> Record:
    version = collection_of(installation, smileys).versions[0]
    asked = Steering(collection=smileys.metrics["collection"], version=1, seed=5, **params)
    stored = asked.fitted(version.figures).model_dump(mode="json")
    return work(installation, kind="pc-steering", params=stored)


def sample(installation: tuple[JobStore, Objects], smileys: Record, **params: Any) -> Record:
    version = collection_of(installation, smileys).versions[0]
    asked = ClusterSampling(collection=smileys.metrics["collection"], version=1, seed=5, **params)
    stored = asked.fitted(version.figures).model_dump(mode="json")
    return work(installation, kind="cluster-sampling", params=stored)


def search(installation: tuple[JobStore, Objects], collection: Record, **query: Any) -> Record:
    version, collection_id = collection_of(installation, collection).versions[0], collection.metrics["collection"]
    stored = SearchParams(**query).of_version(collection_id, 1, version.figures).stored()
    return work(installation, kind="collection-search", params=stored)


def work(installation: tuple[JobStore, Objects], **job: Any) -> Record:
    """Queues a job and runs it to a terminal state."""
    jobs, objects = installation
    queue = "collect" if job["kind"] == "collection" else "gpu"
    jobs.create(NewJob(queue=queue, **job))
    [record] = jobs.claim(queue, worker="test")
    run_job(jobs, objects, record)
    return jobs.get(record.id)


def collection_of(installation: tuple[JobStore, Objects], record: Record) -> CollectionRecord:
    assert record.status == "succeeded", record.error
    return installation[0].collections.get(record.metrics["collection"])


def shown(installation: tuple[JobStore, Objects], record: Record, role: str = "picture") -> list[np.ndarray[Any, Any]]:
    """The output images of a role."""
    assert record.status == "succeeded", record.error
    files = [installation[1].get(output["sha256"]) for output in record.outputs if output["role"] == role]
    return [np.asarray(Image.open(BytesIO(data)).convert("RGB")) for data in files]


def uploaded(installation: tuple[JobStore, Objects], pixels: np.ndarray[Any, Any]) -> str:
    jobs, objects = installation
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    sha = objects.put(file.getvalue(), "image/png")
    jobs.images.put(sha, {})
    return f"img_{sha}"


Installation = tuple[JobStore, Objects]


def redraw(installation: Installation, smileys: Record, **part: Any) -> Record:
    collection = collection_of(installation, smileys)
    params = PlotParams(seed=5, **part).of_version(collection.id, 1, collection.versions[0].figures)
    return work(installation, kind="collection-plots", params=params.model_dump(mode="json"))


def fit_of(installation: tuple[JobStore, Objects], record: Record, folder: Path) -> FittedCollection:
    path = folder / "collection.npz"
    installation[1].get_file(collection_of(installation, record).versions[record.metrics["version"] - 1].file, path)
    return load_collection(path)


def archive(installation: Installation, files: dict[str, np.ndarray[Any, Any]]) -> str:
    jobs, objects = installation
    file = BytesIO()
    with ZipFile(file, "w") as zipped:
        for name, pixels in files.items():
            image = BytesIO()
            Image.fromarray(pixels).save(image, "PNG")
            zipped.writestr(name, image.getvalue())
    sha = objects.put(file.getvalue(), "application/zip")
    jobs.archives.put(sha, {})
    return f"zip_{sha}"
