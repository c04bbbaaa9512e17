from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from models.build import load_model
from models.catalogue import card
from models.perceptual.efficientnet import CLASSES, FEATURES, EfficientNetLite, _Conv, class_names
from models.tensors import to_tensor


@pytest.fixture(scope="module")
def network(weights_dir: Path) -> EfficientNetLite:
    module = load_model(card("efficientnet-lite0"), weights_dir)
    assert isinstance(module, EfficientNetLite)
    return module


def likeliest(network: EfficientNetLite, photo: np.ndarray) -> tuple[str, float]:
    image = np.asarray(Image.fromarray(photo).resize((224, 224), Image.Resampling.BICUBIC))
    with torch.inference_mode():
        features = network.encode_images(to_tensor(image[None]))
        assert features.shape == (1, FEATURES)
        probabilities = network.class_probabilities(features)[0]
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)
    return class_names()[int(probabilities.argmax())], float(probabilities.max())


def test_recognizes_what_photographs_show(network: EfficientNetLite) -> None:
    name, probability = likeliest(network, data.chelsea())
    assert name == "Egyptian cat" and probability > 0.7
    name, probability = likeliest(network, data.coffee())
    assert name == "espresso" and probability > 0.7


def test_has_the_number_of_parameters_that_is_published() -> None:
    """4.7 million (tensorflow/tpu, efficientnet/lite); batch normalizations are folded."""
    assert sum(each.numel() for each in EfficientNetLite(224).parameters()) == pytest.approx(4.65e6, rel=0.01)


def test_pads_as_tensorflow_does() -> None:
    """At an even side and stride 2 a 3 x 3 filter starts at the first pixel; pixels are missing at right and below."""
    conv = _Conv(1, 1, 3, 2)
    torch.nn.init.ones_(conv.weight)
    torch.nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    sums = conv(torch.ones(1, 1, 4, 4))[0, 0]
    assert sums.tolist() == [[9, 6], [6, 4]]


def test_every_class_has_a_name_of_its_own() -> None:
    names = class_names()
    assert len(names) == len(set(names)) == CLASSES
    assert names[281] == "tabby cat" and names[285] == "Egyptian cat"
