from collections.abc import Sequence

import numpy as np
import pytest
from torch import Tensor

from models.space.collection import FittedCollection, Members, fit_collection
from models.space.quality import mixture_images, reencode, sampling_precision, steering_precision
from models.space.space import OnStep, PixelSpace

SPACE = PixelSpace(4, 1)  # what is decoded and encoded again is what it was, as far as it can be shown


class Mirrored(PixelSpace):
    """A space that shows the opposite of what is asked."""

    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = lambda: None) -> Tensor:
        return 1 - super().decode(vectors, seeds=seeds)


@pytest.fixture(scope="module")
def collection() -> FittedCollection:
    rng = np.random.default_rng(0)
    around = np.where(np.arange(90)[:, None] % 3 == np.arange(16) % 3, 0.6, 0.4)
    vectors = (around + 0.02 * rng.standard_normal((90, 16))).astype(np.float32)
    unseen = np.zeros((90, 1, 1, 3), np.uint8)
    members = Members(vectors, unseen, np.arange(90).astype(str), np.zeros((90, 0), np.int8))
    return fit_collection(members, pca={"n_components": 8}, clusterings=[{"method": "kmeans", "n_clusters": 3}], seed=0)


def test_vectors_come_back_in_their_order(collection: FittedCollection) -> None:
    vectors = np.tile(collection.members.vectors, (2, 1))  # more than a batch
    np.testing.assert_allclose(reencode(SPACE, vectors, range(len(vectors))), vectors)


def test_a_true_space_is_precise(collection: FittedCollection) -> None:
    assert sampling_precision(SPACE, collection, n=10) == 1
    found = steering_precision(SPACE, collection, collection.members.vectors[:7], n_components=4)
    assert found["right_direction"] == 1
    assert found["reached"] == pytest.approx(1, abs=1e-3) and found["others"] == pytest.approx(0, abs=1e-3)


def test_one_that_shows_the_opposite_is_not(collection: FittedCollection) -> None:
    space = Mirrored(4, 1)
    assert sampling_precision(space, collection, n=10) < 0.5
    found = steering_precision(space, collection, collection.members.vectors[:7], n_components=4)
    assert found["right_direction"] == 0 and found["reached"] == pytest.approx(-1, abs=1e-3)


def test_samples_of_a_mixture_are_near_its_members() -> None:
    rng = np.random.default_rng(0)
    images = np.where(np.arange(80)[:, None, None, None] % 2, 200, 50) + rng.integers(-9, 9, (80, 4, 4, 1))
    made = mixture_images(SPACE, images.astype(np.uint8), 30, n_components=2, covariance_type="full")
    assert made.shape == (30, 4, 4, 1) and made.dtype == np.uint8
    assert (np.minimum(abs(made.mean((1, 2, 3)) - 200), abs(made.mean((1, 2, 3)) - 50)) < 12).all()
