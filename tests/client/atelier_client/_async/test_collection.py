"""Collections by the client, against a real installation."""

from pathlib import Path

import pytest

from atelier_client import Atelier, Collection


@pytest.fixture(scope="module")
def collection(stack: "object") -> Collection:
    atelier = Atelier(f"http://127.0.0.1:{stack.api_port}")  # type: ignore[attr-defined]
    job = atelier.collect(name="Faces", space="pixels", image_size=16, data="avatars", limit=60)
    return job.wait().collection


def test_members_are_filtered(collection: Collection) -> None:
    everyone, glasses = list(collection.members()), list(collection.members(with_="glasses"))
    assert len(everyone) == 60 and 0 < len(glasses) < 60
    assert all(member["attributes"]["glasses"] for member in glasses)


def test_tables(collection: Collection, tmp_path: Path) -> None:
    frame = collection.to_pandas()
    assert len(frame) == 60 and {"id", "pc_0", "kmeans"} <= set(frame.columns)
    path = collection.export(tmp_path / "members.npz", "npz")
    assert path.read_bytes()[:2] == b"PK" and list(tmp_path.iterdir()) == [path]


def test_images_and_plots(collection: Collection) -> None:
    assert collection.image(3).size == (16, 16)
    assert max(collection.thumbnail(3).size) <= 48
    assert "t-sne" in collection.plots() and collection.plot("t-sne").size[0] > 100


def test_search_steer_and_sample(collection: Collection) -> None:
    assert len(collection.search(member=3, n=2).wait().metrics["matches"]) == 2
    assert collection.steer(components=[{"component": 0, "strengths": [-1, 1]}]).wait().outputs
    assert collection.sample(cluster=0, n=1).wait().outputs
    assert collection.details()["versions"][0]["n_images"] == 60
    assert len(collection.components(vectors=True)[0]["vector"] or []) == 16 * 16 * 3
