"""The edge of what is made anew."""

import numpy as np

from models.diffusion.masks import feather_mask


def test_shares_rise_inside_the_mask_from_its_edge() -> None:
    marked = np.zeros((6, 12), bool)
    marked[:, 4:] = True
    expected = [0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert np.allclose(feather_mask(marked, 3), expected)


def test_no_feather_is_the_mask_itself_and_the_border_is_no_edge() -> None:
    marked = np.random.default_rng(0).random((20, 30)) > 0.5
    assert (feather_mask(marked, 0) == marked).all()
    assert (feather_mask(np.ones((20, 30), bool), 8) == 1).all()


def test_what_is_narrow_is_still_made_anew_in_its_middle() -> None:
    marked = np.zeros((40, 40), bool)
    marked[5:8] = True  # three rows: 1 and 2 pixels from the edge
    marked[20:40] = True
    shares = feather_mask(marked, 4)
    assert np.allclose(shares[4:9, 7], [0, 0.5, 1, 0.5, 0])
    assert np.allclose(shares[19:26, 7], [0, 0.2, 0.4, 0.6, 0.8, 1, 1])
    assert ((shares > 0) == marked).all()
