import numpy as np
import pytest

from models.errors import SpaceError
from models.space.clusters import FittedClustering, assigned, from_labels
from models.space.methods import hdbscan
from models.space.mixture import CovarianceType, fit_mixture
from models.space.sampling import density, distances, nearest_members, sample_cluster, sample_component, spread

LINE = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]], np.float32)


def two_clusters(n: int = 500) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float32]], FittedClustering]:
    """Around (0, 0), long in the direction (1, 1), and around (6, 0)."""
    rng = np.random.default_rng(0)
    along = rng.normal(size=(n, 1)) * [[1, 1]] + 0.1 * rng.normal(size=(n, 2))
    around = [6, 0] + 0.3 * rng.normal(size=(n, 2))
    scores = np.concatenate([along, around]).astype(np.float32)
    return scores, from_labels("kmeans", scores, np.repeat([0, 1], n), 0)


def test_samples_have_the_mean_and_the_covariance_of_their_cluster() -> None:
    scores, clustering = two_clusters()
    drawn = sample_cluster(scores, clustering, 0, 4000, 1.0, np.random.default_rng(1))
    # Draws outside the cell are drawn again, which moves the mean a little; three standard errors of 4000 are 0.05.
    np.testing.assert_allclose(drawn.mean(0), scores[:500].mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(scores[:500].T), atol=0.15)


def test_temperature_is_the_width() -> None:
    scores, clustering = two_clusters()
    wide, narrow = (
        sample_cluster(scores, clustering, 1, 2000, temperature, np.random.default_rng(1)) for temperature in (1.0, 0.5)
    )
    np.testing.assert_allclose(narrow.std(0), wide.std(0) / 2, rtol=0.01)
    center = sample_cluster(scores, clustering, 1, 3, 0, np.random.default_rng(1))
    np.testing.assert_allclose(center, np.tile(scores[500:].mean(0), (3, 1)), atol=1e-4)


def test_every_sample_lies_in_its_cell_even_at_a_high_temperature() -> None:
    scores, clustering = two_clusters()
    for cluster in (0, 1):
        drawn = sample_cluster(scores, clustering, cluster, 300, 3.0, np.random.default_rng(2))
        to_centers = np.linalg.norm(drawn[:, None] - clustering.cluster_centers_, axis=2)
        assert (to_centers.argmin(1) == cluster).all()


def test_a_cluster_may_have_fewer_members_than_there_are_components() -> None:
    scores = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    clustering = from_labels("kmeans", scores, np.arange(30) % 2, 0)
    assert np.isfinite(sample_cluster(scores, clustering, 0, 5, 0.5, np.random.default_rng(0))).all()


@pytest.mark.parametrize("n", [5, 40, 400])
def test_samples_vary_along_each_component_as_the_members_do(n: int) -> None:
    """Components of pixels: each has a hundredth of the variance of the one ten before it."""
    rng = np.random.default_rng(0)
    scores = (rng.normal(size=(n, 60)) * np.geomspace(1, 1e-6, 60)).astype(np.float32)
    of_members = scores.var(0)
    drawn = {
        "cluster": sample_cluster(scores, from_labels("kmeans", scores, np.zeros(n, np.int64), 0), 0, 3000, 1, rng),
        "component": sample_component(scores, fit_mixture(scores, n_components=1, seed=0), 0, 3000, 1, rng),
    }
    for name, samples in drawn.items():
        # Four standard errors of a variance of 3000 draws, 4 * sqrt(2 / 3000) = 0.1, and the shrinkage.
        np.testing.assert_allclose(samples.var(0) / of_members, 1, atol=0.2, err_msg=name)


def test_samples_of_few_members_are_mixtures_of_them() -> None:
    """What none of the members has, such as an edge between two of their pixels, no sample has."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, 30)).astype(np.float32)
    drawn = sample_cluster(scores, from_labels("kmeans", scores, np.zeros(4, np.int64), 0), 0, 20, 1.0, rng)
    _, left, _, _ = np.linalg.lstsq((scores[1:] - scores[0]).T, (drawn - scores[0]).T, rcond=None)
    assert left.max() < 1e-8


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_samples_of_a_component_have_the_mean_and_the_covariance_of_its_members(
    covariance_type: CovarianceType,
) -> None:
    scores, clustering = two_clusters()
    mixture = fit_mixture(scores, n_components=2, covariance_type=covariance_type, seed=0)
    component = int(mixture.labels(scores)[0])
    drawn = sample_component(scores, mixture, component, 4000, 0.5, np.random.default_rng(1))
    members = scores[clustering.labels_ == 0]
    np.testing.assert_allclose(drawn.mean(0), members.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), 0.25 * np.cov(members.T), atol=0.05)
    assert drawn.dtype == np.float32


def test_a_component_of_one_is_not_sampled_from() -> None:
    mixture = fit_mixture(LINE, n_components=2, seed=0)
    alone = int(mixture.labels(LINE)[-1])
    with pytest.raises(SpaceError, match=f"cluster {alone} has 1 members"):
        sample_component(LINE, mixture, alone, 2, 1.0, np.random.default_rng(0))


def test_samples_of_a_ring_stay_off_what_it_surrounds() -> None:
    angles = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    ring = 5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    scores = np.concatenate([0.1 * ring, ring]).astype(np.float32)
    clustering = hdbscan(scores, seed=0)
    assert clustering.sizes.tolist() == [80, 80]
    around = int(clustering.labels_[-1])
    for temperature in (0.0, 1.0):
        drawn = sample_cluster(scores, clustering, around, 200, temperature, np.random.default_rng(0))
        assert (assigned(clustering, scores, drawn) == around).all()


def test_members_that_two_clusters_share_end_the_search_for_a_place() -> None:
    scores = np.zeros((6, 2), np.float32)
    clustering = from_labels("agglomerative", scores, np.repeat([0, 1], 3), 0)
    assert not sample_cluster(scores, clustering, 1, 3, 1.0, np.random.default_rng(0)).any()


def test_two_members_are_enough_to_sample_from() -> None:
    """In float32 the covariance of two members has no Cholesky factor."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = (rng.standard_normal((2, 30)) * np.geomspace(100, 1, 30)).astype(np.float32)
        one = from_labels("kmeans", scores, np.zeros(2, np.int64), 0)
        assert np.isfinite(sample_cluster(scores, one, 0, 5, 0.5, rng)).all()


def test_a_cluster_of_one_is_not_sampled_from() -> None:
    clustering = from_labels("kmeans", LINE, np.array([0, 0, 0, 0, 1]), 0)
    with pytest.raises(SpaceError, match="cluster 1 has 1 members"):
        sample_cluster(LINE, clustering, 1, 2, 1.0, np.random.default_rng(0))


def test_the_nearest_members_come_nearest_first() -> None:
    assert nearest_members(LINE, np.array([[2.2], [9.0]], np.float32), 2).tolist() == [[2, 3], [4, 3]]
    assert nearest_members(LINE, LINE[:1], 99).shape == (1, 5)


def test_density_is_the_share_of_members_in_sparser_places() -> None:
    # To their second neighbors the members reach 2, 1, 1, 2 and 8, the points 0.5, 1 and 15.
    points = np.array([[1.5], [2.0], [18.0]], np.float32)
    assert density(LINE, points, neighbors=2).tolist() == [1.0, 0.6, 0.0]


def test_spread_is_the_root_mean_square_distance_of_two_members() -> None:
    apart = np.array([abs(a - b) ** 2 for a in LINE[:, 0] for b in LINE[:, 0]])
    assert spread(LINE) == pytest.approx(np.sqrt(apart.mean()))
    assert distances(LINE[:2], LINE[2:4]).tolist() == [2, 2]
