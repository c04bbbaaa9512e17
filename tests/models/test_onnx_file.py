from pathlib import Path

import numpy as np
import pytest

from models.onnx_file import initializers, with_initializers


@pytest.fixture(scope="module")
def network(weights_dir: Path) -> bytes:
    return (weights_dir / "fast-multistyle" / "multistyle26.onnx").read_bytes()


def test_the_weights_are_read_by_name_and_replaced(network: bytes) -> None:
    weights = initializers(network)
    assert len(weights) == 54
    assert weights["contract.0.w"].shape == (32, 3, 9, 9) and weights["expand.2.norm.beta"].shape == (26, 3)
    assert all(np.isfinite(array).all() and array.std() > 0 for array in weights.values())
    assert with_initializers(network, weights) == network
    changed = {name: array[3] if ".norm." in name else array for name, array in weights.items()}
    found = initializers(with_initializers(network, changed))
    np.testing.assert_array_equal(found["res.0.0.norm.gamma"], np.repeat(weights["res.0.0.norm.gamma"][3:4], 26, 0))


def test_other_names_and_shapes_are_refused(network: bytes) -> None:
    weights = initializers(network)
    with pytest.raises(ValueError, match="the weights differ in more"):
        with_initializers(network, {**weights, "more": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match="broadcast"):
        with_initializers(network, {**weights, "contract.0.w": np.zeros(7, np.float32)})


@pytest.mark.parametrize("size", [0, 1, 100, 50_000])
def test_what_is_no_whole_file_is_refused(network: bytes, size: int) -> None:
    with pytest.raises(ValueError):
        initializers(network[:size])
    with pytest.raises(ValueError):
        initializers(b"\xff" * size)
