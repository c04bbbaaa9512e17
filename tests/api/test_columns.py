"""Columns of the members of a collection, as the API and a table give them."""

from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest

from api.collections import NAMES
from api.columns import COLUMNS, Column, columns_of
from jobs.members import MembersTable
from tests.stack import Stack

DIGITS: dict[str, Any] = {
    **{"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1, "data": "digits", "limit": 40, "seed": 1},
    **{"n_components": 5, "clusterings": [{"method": "kmeans", "n_clusters": 3}]},
}
N_LARGE = 100_000


@pytest.fixture(scope="module")
def collection_id(stack: Stack) -> str:
    """Forty digits."""
    job = stack.finished(stack.client.post("/v1/collections", json=DIGITS).json()["id"])
    assert job["status"] == "succeeded", job["error"]
    return str(job["metrics"]["collection"])


def get(stack: Stack, collection_id: str, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
    return stack.client.get(f"/v1/collections/{collection_id}/columns", params=query, headers=headers)


def arrays(data: bytes) -> dict[str, Any]:
    with np.load(BytesIO(data), allow_pickle=False) as file:
        return dict(file)


def large_table() -> MembersTable:
    rng, n = np.random.default_rng(0), N_LARGE
    return MembersTable(
        names=np.frombuffer(b"member" * n, np.uint8),
        name_ends=6 * np.arange(1, n + 1),
        scores=rng.normal(size=(n, 32)).astype(np.float32),
        clusters=rng.integers(0, 9, (n, 1)).astype(np.int32),
        maps=rng.normal(size=(n, 1, 2)).astype(np.float32),
        attributes=np.zeros((n, 0), np.int8),
        outlier_scores=np.zeros(n, np.float32),
        pairs=np.zeros((0, 2), np.int32),
        pair_distances=np.zeros(0, np.float32),
        deviations=np.ones(32, np.float32),
        component_checksums=np.zeros(34, np.uint32),
        ends=np.zeros((n, 2), np.int64),
        checksums=np.zeros((n, 2), np.uint32),
        segments=np.zeros(1, np.int64),
        classes=np.zeros((n, 0), np.int16),
        class_probabilities=np.zeros((n, 0), np.float32),
        **{"methods": ("kmeans",), "map_names": ("tsne",), "attribute_names": (), "class_names": ()},
    )


def test_columns_are_those_of_the_pages(stack: Stack, collection_id: str) -> None:
    path = f"/v1/collections/{collection_id}/members"
    members = stack.client.get(path, params={"limit": 1000}).json()["members"]
    columns = arrays(get(stack, collection_id).content)
    ends = columns["name_ends"].tolist()
    texts = [columns["names"][a:b].tobytes().decode() for a, b in zip([0, *ends], ends, strict=False)]
    assert texts == [member["name"] for member in members]
    assert columns["map_names"].tolist() == ["tsne"] and columns["clusterings"].tolist() == ["kmeans"]
    assert columns["maps"][:, 0].round(4).tolist() == pytest.approx(np.array([m["map"]["tsne"] for m in members]))
    assert columns["clusters"][:, 0].tolist() == [member["clusters"]["kmeans"] for member in members]
    assert columns["scores"] == pytest.approx(np.array([m["scores"] for m in members]), abs=6e-5)  # 4 digits
    assert columns["outlier_scores"] == pytest.approx(np.array([m["outlier_score"] for m in members]), abs=6e-5)
    names = columns["attribute_names"].tolist()
    labels = [[name for name, has in zip(names, row, strict=True) if has == 1] for row in columns["attributes"]]
    assert labels == [member["labels"] for member in members]
    assert columns["thumbnails"].tolist() == [1] * 40 and columns["classes"].shape == (40, 0)
    assert columns["class_names"].tolist() == []


def test_some_columns_of_a_version_are_cached(stack: Stack, collection_id: str) -> None:
    answer = get(stack, collection_id, columns=["maps", "clusters"])
    assert set(arrays(answer.content)) == {"maps", "map_names", "clusters", "clusterings"}
    assert answer.headers["Cache-Control"] == "private, no-cache"  # the newest version may become another
    assert "immutable" in get(stack, collection_id, columns="maps", version=1).headers["Cache-Control"]
    same = get(stack, collection_id, {"If-None-Match": answer.headers["ETag"]}, columns=["clusters", "maps"])
    assert same.status_code == 304
    assert get(stack, collection_id, columns="maps").headers["ETag"] != answer.headers["ETag"]


def test_unknown_columns_and_versions_are_refused(stack: Stack, collection_id: str) -> None:
    for query, field in (({"columns": "vectors"}, "columns.0"), ({"version": 9}, "version"), ({"limit": 3}, "limit")):
        answer = get(stack, collection_id, **query)
        assert (answer.status_code, answer.json()["error"]["details"].get("field", field)) == (422, field), answer.text
    assert get(stack, "col_" + "0" * 24).status_code == 404


def test_names_of_clusters_are_seen_by_everyone(stack: Stack, collection_id: str) -> None:
    path = f"/v1/collections/{collection_id}"
    answer = stack.client.patch(path, json=NAMES["names"]["value"])
    assert answer.status_code == 200, answer.text
    assert stack.client.get(path).json() == answer.json()
    assert answer.json()["versions"][0]["cluster_names"] == {"kmeans": {"0": "Blue hats"}}
    stack.client.patch(path, json={"cluster_names": [{"cluster": 2, "name": "Twos", "clustering": "kmeans"}]})
    removed = stack.client.patch(path, json={"version": 1, "cluster_names": [{"cluster": 0, "name": ""}]})
    assert removed.json()["versions"][0]["cluster_names"] == {"kmeans": {"2": "Twos"}}
    for body, field in (
        ({"cluster_names": []}, "cluster_names"),
        ({"cluster_names": [{"cluster": 3, "name": "x"}]}, "cluster_names.0.cluster"),
        ({"cluster_names": [{"cluster": 0, "name": None}]}, "cluster_names.0.name"),
        ({"cluster_names": [{"cluster": 0, "name": "x" * 101}]}, "cluster_names.0.name"),
        ({"cluster_names": [{"cluster": 0}]}, "cluster_names.0.name"),
        ({"cluster_names": [{"cluster": 0, "name": "x", "clustering": "hdbscan"}]}, "cluster_names.0.clustering"),
        ({"cluster_names": [{"cluster": 0, "name": "x"}], "version": 2}, "version"),
    ):
        refused = stack.client.patch(path, json=body)
        assert refused.status_code == 422 and field in refused.json()["error"]["message"], refused.text


def test_the_map_of_a_large_collection_is_small() -> None:
    shown: list[Column] = ["maps", "clusters", "outlier_scores", "names"]
    table = large_table()
    assert len(columns_of(table, shown)) < 30 * N_LARGE
    whole = arrays(columns_of(table, list(COLUMNS)))
    assert all(len(whole[name]) == N_LARGE for name in COLUMNS if name != "names")
