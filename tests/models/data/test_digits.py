import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from models.data.digits import digits


def test_at_their_own_size_they_are_scikit_learns_pixels() -> None:
    found, real = digits(8), load_digits()
    assert found.images.shape == (1797, 8, 8, 1) and found.images.dtype == np.uint8
    assert np.allclose(found.images[..., 0], real.images * 255 / 16, atol=0.5)
    assert np.array_equal(found.labels, real.target)
    assert found.label_names == tuple("0123456789")


def test_resized_they_are_bicubic_and_what_rings_past_the_ends_is_cut() -> None:
    """Bicubic is linear and separable: its matrix (16, 8) is what it makes of the identity, along one side."""
    identity = Image.fromarray(np.eye(8, dtype=np.float32))
    matrix = np.asarray(identity.resize((8, 16), Image.Resampling.BICUBIC), np.float64)
    exact = matrix @ (load_digits().images * 255 / 16) @ matrix.T
    assert exact.min() < -10 and exact.max() > 265
    found = digits(16).images
    assert found.shape == (1797, 16, 16, 1) and found.dtype == np.uint8
    assert np.abs(found[..., 0] - exact.clip(0, 255)).max() < 0.51


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        digits(0)
