"""Collections of photographs by the real runners, on a real Valkey, with shipped weights."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data
from sklearn.metrics import adjusted_rand_score

from jobs.store.records import Record
from models.data.smileys import smiley
from models.perceptual.efficientnet import class_names
from tests.worker.runners.collecting import (
    Installation,
    add,
    archive,
    collection_of,
    fit_of,
    found,
    redraw,
    sample,
    search,
    shown,
    uploaded,
)

PHOTOS = {"cat": data.chelsea, "coffee": data.coffee, "rocket": data.rocket}
EACH = 7


@pytest.fixture(scope="module")
def photos(installation: Installation) -> Record:
    """The job that built a collection of crops of photographs, in a folder for each photograph."""
    rng = np.random.default_rng(0)
    files = {}
    for name, load in PHOTOS.items():
        for k in range(EACH):
            side, photo = int(rng.integers(180, 280)), load()
            top, left = (int(rng.integers(length - side)) for length in photo.shape[:2])
            files[f"{name}/{k}.png"] = photo[top : top + side, left : left + side]
    params = {
        **{"name": "Photos", "space": "photo", "data": archive(installation, files), "n_components": 4, "seed": 1},
        "clusterings": [{"method": "kmeans", "n_clusters": 3}],
    }
    return found(installation, params)


def test_clusters_and_images_are_named_by_what_they_show(
    installation: Installation, photos: Record, tmp_path: Any
) -> None:
    collection = fit_of(installation, photos, tmp_path)
    labels = collection.clusterings["kmeans"].labels_
    names = collection.members.attribute_names
    sources = collection.members.attributes[:, [names.index(name) for name in PHOTOS]].argmax(1)
    assert adjusted_rand_score(sources, labels) == 1
    figures = photos.metrics["figures"]["clusterings"]["kmeans"]
    by_source = {name: figures["classes"][labels[sources == k][0]]["name"] for k, name in enumerate(PHOTOS)}
    assert "cat" in by_source["cat"] and by_source["coffee"] == "espresso", by_source
    assert "class:espresso" in names, "classes are attributes, which plots and lists filter by"
    members = collection.members
    assert members.classes is not None and members.class_probabilities is not None
    assert members.classes.shape == members.class_probabilities.shape == (len(members), 3)
    assert (np.diff(members.class_probabilities) <= 0).all() and len(set(members.classes[0])) == 3
    assert set(members.class_names) <= set(class_names())
    named = photos.metrics["classes"]
    assert [each["name"] for each in named] == [members.class_names[k] for k in members.classes[:, 0]]
    assert len(named) == len(PHOTOS) * EACH
    assert named[0].keys() == {"image", "name", "probability"}


def crop(name: str) -> np.ndarray[Any, Any]:
    return np.asarray(PHOTOS[name]()[:250, :250])


def codes(record: Record) -> list[str]:
    assert record.status == "succeeded", record.error
    return [each["code"] for each in record.metrics["warnings"]]


def test_an_image_unlike_the_members_is_a_warning(installation: Installation, photos: Record) -> None:
    alike, unlike = (uploaded(installation, image) for image in (crop("coffee"), smiley(0, 0)[0]))
    assert codes(search(installation, photos, image=alike)) == []
    record = search(installation, photos, image=unlike)
    assert codes(record) == ["image_unlike_members"]
    message = record.metrics["warnings"][0]["message"]
    assert message.startswith("image: 1 of 1 images are unlike the members of the collection: the cosine distance to ")


def test_added_images_unlike_the_members_are_a_warning(installation: Installation, photos: Record) -> None:
    drawn = [uploaded(installation, smiley(0, k)[0]) for k in range(2)]
    assert "image_unlike_members" in codes(add(installation, collection_of(installation, photos), images=drawn))


def test_plots_show_members_along_components(installation: Installation, photos: Record) -> None:
    plots = {output["name"]: output for output in photos.outputs}
    assert plots.keys() >= {"explained-variance", "pca", "components", "medoids"}
    names = [output["name"] for output in redraw(installation, photos, component=0).outputs]
    assert names == ["t-sne", "pca", "members"], "no images are decoded"


def test_samples_are_members(installation: Installation, photos: Record) -> None:
    record = sample(installation, photos, n=2, neighbors=2)
    assert [output["role"] for output in record.outputs] == ["grid"]
    assert Image.fromarray(shown(installation, record, "grid")[0]).width > 3 * 48
    clusters, figures = record.metrics["clusters"], record.metrics["pictures"]
    assert [each["size"] for each in clusters] == [EACH] * 3
    assert all(0 < each["spread"] < 1 for each in clusters), "less than that of the whole collection"
    assert [each["from_cluster"] for each in figures] == [0, 0, 1, 1, 2, 2]
    assert all(len(each["nearest"]) == 2 for each in figures)
    assert collection_of(installation, photos).versions[0].figures["models"].keys() == {"efficientnet-lite0"}
