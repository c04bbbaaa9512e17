import numpy as np
import pytest

from models.space.isolation import FEWEST, distances_to, spacing_of

CIRCLE = np.deg2rad(np.arange(100))
LINE = np.stack([np.cos(CIRCLE), np.sin(CIRCLE)], axis=1).astype(np.float32)  # a member at each of 100 degrees


def mean_distance(*degrees: float) -> float:
    """The mean of 1 - cos of these angles."""
    return float(np.mean(1 - np.cos(np.deg2rad(degrees))))


def test_the_distance_is_the_mean_to_the_three_nearest_whatever_the_length() -> None:
    """105 degrees are 6, 7 and 8 from the three nearest; the member at 50 is 0, 1 and 1."""
    angles = np.deg2rad([105, 50])
    vectors = 5 * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    expected = [mean_distance(6, 7, 8), mean_distance(0, 1, 1)]
    assert distances_to(LINE, vectors) == pytest.approx(expected, abs=1e-6)  # of float32


def test_members_are_not_compared_with_themselves() -> None:
    """Inside 1, 1 and 2 degrees, at the two ends 1, 2 and 3: of 50 members 98 % are not at an end."""
    ends, inside = mean_distance(1, 2, 3), mean_distance(1, 1, 2)
    assert inside < (spacing_of(LINE[:50]) or 0) <= ends + 1e-6
    assert spacing_of(np.concatenate([LINE] * 10)) == pytest.approx(0, abs=1e-6), "each has copies"


def test_few_members_have_no_spacing() -> None:
    assert spacing_of(LINE[: FEWEST - 1]) is None
    assert spacing_of(LINE[:FEWEST]) is not None


def test_a_vector_of_another_kind_is_farther_than_those_of_the_same() -> None:
    rng = np.random.default_rng(0)
    members, same = (3 * np.eye(16)[0] + rng.standard_normal((n, 16)) for n in (500, 300))
    spacing = spacing_of(members.astype(np.float32))
    assert spacing is not None
    assert (distances_to(members, same) > spacing).mean() < 0.06
    assert (distances_to(members, -same) > spacing).all()
