import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import models.perceptual.vgg as module
from models.catalogue import card, file_sha256
from models.errors import WeightsError
from models.fetch import CAFFE_MEAN_BGR
from models.perceptual.vgg import VGG, conv_names, load_vgg
from models.tensors import fast_dtype
from models.wheels import wheel_files
from tests.stack import WEIGHTS

Photo = Callable[[str, int], Tensor]


def keras_features(image: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """VGG-16 in float64 from the h5 file by the Keras convention: (h, w, channels), BGR in 0 to 255, Caffe's means."""
    x = image.astype(np.float64)[:, :, ::-1] * 255 - np.array(CAFFE_MEAN_BGR)
    features = {}
    with h5py.File(wheel_files(card("vgg16"))[0]) as file:
        for name in names:
            block, i = name.removeprefix("relu").split("_")
            if i == "1" and block != "1":
                h, w, c = x.shape[0] // 2, x.shape[1] // 2, x.shape[2]
                x = x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, c).mean(axis=(1, 3))
            values = file[f"block{block}/layers/conv2d{'' if i == '1' else f'_{int(i) - 1}'}/vars"]
            kernel, bias = values["0"][()].astype(np.float64), values["1"][()].astype(np.float64)
            padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
            patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
            x = np.maximum(np.einsum("xycij,ijco->xyo", patches, kernel, optimize=True) + bias, 0)
            features[name] = x
    return features


def test_the_conversion_equals_the_keras_network_in_float64(tensor_photo: Photo, weights_dir: Path) -> None:
    image = tensor_photo("chelsea", 32)
    vgg = load_vgg("vgg16", weights_dir, dtype=torch.float64)
    expected = keras_features(image[0].permute(1, 2, 0).numpy(), vgg.layers[:8])
    found = vgg(image.double(), vgg.layers[:8])
    for layer, value in expected.items():
        # The mean and the 255 are rounded to float32 in the file.
        np.testing.assert_allclose(found[layer][0].permute(1, 2, 0).numpy(), value, rtol=1e-5, atol=1e-4 * value.max())


@pytest.mark.parametrize("depth, convolutions", [(16, 13), (19, 16)])
def test_names_and_shapes(depth: int, convolutions: int) -> None:
    vgg = VGG(depth)
    assert len(conv_names(depth)) == len(vgg.layers) == convolutions
    found = vgg(torch.rand(2, 3, 36, 48), ("relu3_1", "relu1_2", "relu5_1"))
    assert {layer: tuple(f.shape) for layer, f in found.items()} == {
        "relu1_2": (2, 64, 36, 48),
        "relu3_1": (2, 256, 9, 12),
        "relu5_1": (2, 512, 2, 3),
    }


def test_stops_at_the_deepest_layer() -> None:
    vgg = VGG(16)
    for name in vgg.layers[3:]:
        setattr(vgg, name.replace("relu", "conv"), torch.nn.Identity())  # has no weights to compute with
    assert list(vgg(torch.rand(1, 3, 16, 16), ("relu2_1", "relu1_1"))) == ["relu1_1", "relu2_1"]


@pytest.mark.parametrize("size", [(16, 16), (17, 19), (16, 33)])
def test_the_gradient_is_that_of_padded_convolutions(vgg16: VGG, size: tuple[int, int]) -> None:
    """Against autograd through padded copies, at even and odd sizes, in float64."""
    vgg = load_vgg("vgg16", WEIGHTS, dtype=torch.float64)
    x = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    found = vgg(x, ("relu1_2", "relu3_3"))
    y = (x - vgg.mean.view(3, 1, 1)) / vgg.std.view(3, 1, 1)
    expected = {}
    for name, conv in list(vgg.named_children())[:7]:
        if name.endswith("_1") and name != "conv1_1":
            y = torch.nn.functional.avg_pool2d(y, 2)
        y = torch.relu(conv(torch.nn.functional.pad(y, (1, 1, 1, 1), mode="replicate")))
        expected[name.replace("conv", "relu")] = y
    for layer, value in found.items():
        torch.testing.assert_close(value, expected[layer])
    theirs, ours = (torch.autograd.grad([f[k].square().sum() for k in found], x)[0] for f in (expected, found))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("layers", [("relu1_3",), ("conv1_1",), ()])
def test_unknown_layers_are_refused(layers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="layers must be some of relu1_1, "):
        VGG(16)(torch.rand(1, 3, 16, 16), layers)


def test_an_unknown_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth must be one of 16, 19, not 11"):
        VGG(11)


def test_the_gradient_reaches_the_image_and_no_parameter(tensor_photo: Photo, vgg16: VGG) -> None:
    image = tensor_photo("chelsea", 32).requires_grad_()
    vgg16(image, ("relu2_1",))["relu2_1"].float().sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in vgg16.parameters())


def test_a_flat_image_has_flat_features(vgg16: VGG) -> None:
    """The border is continued, so that an image's edge is no feature."""
    features = vgg16(torch.full((1, 3, 32, 32), 0.4), ("relu2_1",))["relu2_1"].float()
    assert (features.std((2, 3)) <= 0.01 * features.max()).all()


def test_bfloat16_features_are_close_to_float32(tensor_photo: Photo, weights_dir: Path) -> None:
    image = tensor_photo("astronaut", 96)

    def features(dtype: torch.dtype) -> Tensor:
        vgg = load_vgg("vgg16", weights_dir, dtype=dtype)
        features: Tensor = vgg(image, ("relu4_2",))["relu4_2"]
        return features.double()

    exact, rounded = features(torch.float32), features(torch.bfloat16)
    # bfloat16 rounds to 0.4 %; the errors of eleven layers add up as independent ones do: 0.4 % * sqrt(11), doubled.
    assert (rounded - exact).norm() / exact.norm() < 0.03


def test_the_type_is_one_this_machine_is_fast_at() -> None:
    assert fast_dtype(torch.device("cpu")) in (torch.bfloat16, torch.float32)


def test_missing_weights_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"`python -m models.fetch vgg16`"):
        load_vgg("vgg16", tmp_path)


def test_tampered_weights_are_refused(weights_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "vgg16" / "vgg16.safetensors"
    path.parent.mkdir()
    shutil.copyfile(weights_dir / "vgg16" / path.name, path)
    with path.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"!")
    with pytest.raises(WeightsError, match="sha256 differs"):
        load_vgg("vgg16", tmp_path)


def test_a_pickle_called_safetensors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the card has its hash: only the safetensors format is read."""
    path = tmp_path / "vgg16" / "vgg16.safetensors"
    path.parent.mkdir()
    torch.save(VGG(16).state_dict(), path)
    trusting = replace(card("vgg16"), files={path.name: file_sha256(path)})
    monkeypatch.setattr(module, "card", lambda _: trusting)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_vgg("vgg16", tmp_path)


def test_a_card_without_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vgg16" / "vgg16.safetensors"
    path.parent.mkdir()
    save_file(VGG(16).state_dict(), path)
    monkeypatch.setattr(module, "card", lambda _: replace(card("vgg16"), files={path.name: None}))
    with pytest.raises(WeightsError, match="no known sha256"):
        load_vgg("vgg16", tmp_path)
