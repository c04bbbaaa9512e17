from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.errors import ArchitectureError, NotFiniteError
from models.generative.base import LatentAutoencoder, LatentModel
from models.generative.gan import mlp_generator
from models.generative.vae import conv_vae
from models.pixels import to_bytes
from models.tensors import (
    WeightsMismatchError,
    expect_class,
    fast_dtype,
    has_convolutions,
    load_weights,
    on_device,
    save_weights,
    to_pixels,
    to_tensor,
)


def test_images_survive_the_round_trip() -> None:
    images = np.arange(2 * 3 * 5 * 3, dtype=np.uint8).reshape(2, 3, 5, 3)
    tensor = to_tensor(images)
    assert tensor.shape == (2, 3, 3, 5) and tensor.max() <= 1
    assert np.array_equal(to_pixels(tensor), images)


def test_what_lies_outside_the_range_is_cut() -> None:
    assert to_pixels(torch.tensor([-1.0, 0.5, 2.0]).reshape(3, 1, 1, 1)).ravel().tolist() == [0, 128, 255]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_becomes_no_pixels(value: float) -> None:
    image = torch.zeros(1, 3, 2, 2)
    image[0, 1, 1, 0] = value
    with pytest.raises(NotFiniteError, match="NaN or infinite"):
        to_pixels(image)
    with pytest.raises(NotFiniteError, match="NaN or infinite"):
        to_bytes(image.numpy())


def test_weights_that_are_not_finite_in_half_precision_are_not_written(tmp_path: Path) -> None:
    state = {"a": torch.zeros(2), "b": torch.tensor([1.0, 7e4]), "c": torch.tensor(float("nan"))}
    with pytest.raises(NotFiniteError, match="b holds NaN or infinity, and 1 more"):
        save_weights(state, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_weights_are_kept_in_half_precision_and_counts_as_they_are(tmp_path: Path) -> None:
    norm = nn.BatchNorm1d(2)
    norm(torch.randn(8, 2))
    save_weights(norm.state_dict(), tmp_path / "a.safetensors")
    other = nn.BatchNorm1d(2)
    load_weights(other, tmp_path / "a.safetensors")
    assert torch.allclose(other.running_mean, norm.running_mean, atol=1e-3)  # type: ignore[arg-type]
    assert other.num_batches_tracked == 1 and other.weight.dtype == torch.float32


def test_one_state_gives_the_same_bytes(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    save_weights(state, tmp_path / "a.safetensors")
    save_weights(dict(reversed(state.items())), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


GOOD = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({"weight": GOOD["weight"]}, "bias is missing"),
        ({**GOOD, "extra": torch.zeros(1)}, "extra is not of this architecture"),
        ({**GOOD, "weight": torch.zeros(3, 3)}, "weight has another shape"),
        ({**GOOD, "bias": torch.tensor([0.0, float("nan")])}, "bias holds NaN"),
        ({}, "bias is missing, and 1 more"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(state: dict[str, Tensor], fault: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    module = nn.Linear(3, 2)
    before = module.weight.clone()
    with pytest.raises(WeightsMismatchError, match=f"model.safetensors: {fault}"):
        load_weights(module, path)
    assert torch.equal(module.weight, before)


def test_a_pickle_by_another_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save(GOOD, path)
    with pytest.raises(WeightsMismatchError, match="not a safetensors file") as error:
        load_weights(nn.Linear(3, 2), path)
    print(f"S3: a pickle: {error.value}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_group_norms_have_the_gradient_they_had(dtype: torch.dtype) -> None:
    plain = nn.GroupNorm(4, 8).to(dtype)
    placed = on_device(nn.Sequential(nn.GroupNorm(4, 8).to(dtype)), "cpu")
    seen: list[bool] = []
    placed[0].register_forward_pre_hook(lambda norm, inputs: seen.append(inputs[0].is_contiguous()))
    images = torch.randn(2, 8, 6, 6, dtype=dtype).to(memory_format=torch.channels_last)
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    for norm, tensor in ((placed, ours), (plain, theirs)):
        norm(tensor).square().sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    # Of gradients near 1, bfloat16 keeps 8 bits (4e-3) and float32 24 (6e-8), over 72 values of a group.
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-2 if dtype == torch.bfloat16 else 1e-5)
    with torch.no_grad():
        placed(images)
    assert seen == [dtype == torch.bfloat16, False], "only where a gradient is wanted, and slow"


CPU = torch.device("cpu")


@pytest.fixture
def bfloat16_cpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A CPU that multiplies bfloat16 and libraries with default settings."""
    for name in ("ATELIER_DTYPE", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    return monkeypatch


def test_the_dtype_is_bfloat16_where_the_cpu_multiplies_it(bfloat16_cpu: pytest.MonkeyPatch) -> None:
    assert fast_dtype(CPU) == torch.bfloat16
    bfloat16_cpu.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    assert fast_dtype(CPU) == torch.float32


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("isa", "dtype"),
    [
        ("SSE41", torch.float32),
        ("avx2", torch.float32),
        ("AVX512_CORE", torch.float32),
        ("AVX512_CORE_BF16", torch.bfloat16),
        ("DEFAULT", torch.bfloat16),
    ],
)
def test_the_dtype_follows_the_setting_of_onednn(
    bfloat16_cpu: pytest.MonkeyPatch, variable: str, isa: str, dtype: torch.dtype
) -> None:
    bfloat16_cpu.setenv(variable, isa)
    assert fast_dtype(CPU) == dtype


@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2"])
def test_the_dtype_is_float32_where_torch_uses_less_of_the_cpu(
    bfloat16_cpu: pytest.MonkeyPatch, capability: str
) -> None:
    bfloat16_cpu.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert fast_dtype(CPU) == torch.float32


@pytest.mark.parametrize(("chosen", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_chosen_dtype_is_used_on_every_device(
    monkeypatch: pytest.MonkeyPatch, chosen: str, dtype: torch.dtype, device: str
) -> None:
    monkeypatch.setenv("ATELIER_DTYPE", chosen)
    assert fast_dtype(torch.device(device)) == dtype


def test_an_unknown_dtype_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_DTYPE", "float8")
    with pytest.raises(ValueError, match="ATELIER_DTYPE must be one of auto, float32, bfloat16, not 'float8'"):
        fast_dtype(CPU)


def test_a_model_of_another_class_is_refused() -> None:
    model = mlp_generator(28, 1, 2)
    assert expect_class(model, LatentModel) is model
    with pytest.raises(ArchitectureError, match="a LatentAutoencoder is needed, not a Generator"):
        expect_class(model, LatentAutoencoder)


def test_a_perceptron_has_no_convolutions() -> None:
    assert not has_convolutions(mlp_generator(28, 1, 2))
    assert has_convolutions(conv_vae(16, 3, 2))
