from pathlib import Path

import numpy as np
import pytest
import torch

from models.build import build
from models.onnx_file import initializers
from models.stylize.fast import BUILTIN_STYLES, load_multistyle
from models.stylize.feed_forward import StyleNet, of_builtin


@pytest.fixture(scope="module")
def builtin(weights_dir: Path) -> dict[str, np.ndarray]:
    return initializers((weights_dir / "fast-multistyle" / "multistyle26.onnx").read_bytes())


def test_with_the_weights_of_a_built_in_style_it_paints_as_onnxruntime_does(
    builtin: dict[str, np.ndarray], weights_dir: Path
) -> None:
    network = build({"name": "style-net", "channels": 3})
    assert isinstance(network, StyleNet)
    network.load_state_dict(of_builtin(builtin, 19))
    images = np.random.default_rng(0).random((1, 3, 40, 64), np.float32)
    with torch.inference_mode():
        found = network(torch.from_numpy(images)).numpy()
    weights = np.eye(BUILTIN_STYLES, dtype=np.float32)[19]
    expected = load_multistyle(weights_dir).run(None, {"image": images, "style_weights": weights})[0]
    # Eighteen normalizations, each of which divides by a small deviation.
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_images_of_one_channel_are_refused() -> None:
    with pytest.raises(ValueError, match="channels must be 3, not 1"):
        build({"name": "style-net", "channels": 1})
