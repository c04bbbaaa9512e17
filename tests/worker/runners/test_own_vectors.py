"""Collections of a user's own embeddings by the real runners, on a real Valkey."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest

from jobs.store.records import Record
from models.data.smileys import smiley
from tests.worker.runners.collecting import Installation, archive, fit_of, found, redraw, sample, shown, steer

N, DIM = 24, 16
LABELS = ["sun", "moon", ""]


def stored(installation: Installation, dim: int = DIM, **arrays: Any) -> str:
    """Three well separated groups of vectors, as an uploaded npz file."""
    rng = np.random.default_rng(0)
    groups = np.arange(N) % 3
    vectors = 8 * np.eye(3, dim, dtype=np.float32)[groups] + rng.standard_normal((N, dim)).astype(np.float32)
    file = BytesIO()
    labels = np.array(LABELS)[groups]
    np.savez(file, vectors=vectors, ids=np.array([f"v{k}" for k in range(N)]), labels=labels, **arrays)
    jobs, objects = installation
    sha = objects.put(file.getvalue(), "application/zip")
    jobs.archives.put(sha, {})
    return f"zip_{sha}"


def build(installation: Installation, space: str, vectors: str, **params: Any) -> Record:
    clusterings = [{"method": "kmeans", "n_clusters": 3}]
    made = {"name": "Own", "space": space, "vectors": vectors, "n_components": 5, "seed": 0, "clusterings": clusterings}
    return found(installation, made | params)


@pytest.fixture(scope="module")
def points(installation: Installation) -> Record:
    """A collection in a space that no model has, without images."""
    return build(installation, "clip-vit-l-14", stored(installation, extra=np.zeros(2)))


def test_vectors_are_members_with_labels(installation: Installation, points: Record, tmp_path: Any) -> None:
    collection = fit_of(installation, points, tmp_path)
    members = collection.members
    assert members.names[:2].tolist() == ["v0", "v1"] and not members.has_images
    assert members.attribute_names == ("moon", "sun")
    assert members.attributes[:3].tolist() == [[0, 1], [1, 0], [-1, -1]]
    assert len({collection.clusterings["kmeans"].labels_[k] for k in range(3)}) == 3
    [warning] = [each for each in points.metrics["warnings"] if each["code"] == "columns_not_used"]
    assert warning["message"].endswith("extra.")


def test_plots_without_images_show_points(installation: Installation, points: Record) -> None:
    names = {output["name"] for output in points.outputs}
    assert names >= {"explained-variance", "t-sne", "pca", "silhouette", "clusterings"}
    assert not names & {"components", "medoids"}
    redrawn = redraw(installation, points, clustering="kmeans").outputs
    assert redrawn[-1]["name"] == "attribute-shares"


def test_samples_are_the_nearest_members(installation: Installation, points: Record) -> None:
    record = sample(installation, points, n=2)
    assert (record.status, record.outputs) == ("succeeded", []), record.error
    assert [each["size"] for each in record.metrics["clusters"]] == [N // 3] * 3
    assert all(each["nearest"][0].startswith("v") for each in record.metrics["pictures"])


def test_vectors_of_a_model_at_hand_are_decoded_and_images_are_shown(installation: Installation) -> None:
    files = {f"faces/v{k}.png": smiley(0, k)[0] for k in range(N - 1)}
    params = {"data": archive(installation, files)}
    record = build(installation, "vae-smileys", stored(installation), **params)
    assert {output["name"] for output in record.outputs} >= {"components", "medoids"}
    missing = [each["message"] for each in record.metrics["warnings"] if each["code"] == "entries_skipped"]
    assert missing == [f"1 of {N} members have no image: 'v{N - 1}': not in the archive."]
    moved = steer(installation, record, components=[{"component": 0, "strengths": [0, 2]}])
    assert len(shown(installation, moved)) == 2


def test_vectors_of_another_length_are_refused_by_name(installation: Installation) -> None:
    record = build(installation, "vae-smileys", stored(installation, dim=5))
    assert record.error and record.error["code"] == "vector_mismatch"
    assert record.error["message"] == "vectors: They have 5 values; those of the space vae-smileys have 16."
