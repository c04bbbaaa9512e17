"""Conversion of images and tensors, the fast dtype of a device, and weights in safetensors files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.errors import ArchitectureError, NotFiniteError
from models.pixels import NOT_FINITE
from models.seeds import folded

DTYPES = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}  # values of ATELIER_DTYPE
# Values of ONEDNN_MAX_CPU_ISA under which oneDNN emulates products of bfloat16.
WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")


class WeightsMismatchError(ValueError):
    """A safetensors file does not have the tensors of an architecture; the message names them."""


def to_tensor(images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """Converts uint8 images (n, h, w, channels) to float (n, channels, h, w) in [0, 1]."""
    # A decoded image may be read-only, which torch does not support: only then it is copied.
    writable = np.require(images, requirements="W")
    return torch.from_numpy(writable).to(device).permute(0, 3, 1, 2).float().div(255)


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """Converts images (n, channels, h, w), clipped to [0, 1], to uint8 (n, h, w, channels); raises NotFiniteError."""
    if not torch.isfinite(images).all():
        raise NotFiniteError(NOT_FINITE)
    pixels: NDArray[np.uint8] = images.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy(force=True)
    return np.ascontiguousarray(pixels)


def seeded(seed: int) -> torch.Generator:
    """Returns a generator on the CPU for any device, so that a seed gives the same numbers everywhere."""
    return torch.Generator().manual_seed(folded(seed))


def best_device() -> torch.device:
    """Returns the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_dtype(device: torch.device) -> torch.dtype:
    """Returns the dtype of mixed precision on a device: ATELIER_DTYPE (`float32` or `bfloat16`), else the fastest.

    Without it, or with `auto`, that is bfloat16 where the libraries multiply it in hardware (AVX512-BF16, AMX, CUDA of
    compute capability 8.0 and up), else float32. Raises ValueError for another value.
    """
    chosen = os.environ.get("ATELIER_DTYPE") or "auto"
    if chosen not in DTYPES:
        raise ValueError(f"ATELIER_DTYPE must be one of {', '.join(DTYPES)}, not {chosen!r}")
    if dtype := DTYPES[chosen]:
        return dtype
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    """Returns whether the CPU multiplies bfloat16 in hardware and neither torch nor oneDNN is configured not to.

    ATEN_CPU_CAPABILITY configures torch, ONEDNN_MAX_CPU_ISA oneDNN. Emulated bfloat16 products are slower than those
    of float32, a hundred times under AVX2.
    """
    able = torch.cpu.get_capabilities()
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    return (
        bool(able.get("avx512_bf16") or able.get("amx_bf16"))
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and torch.backends.mkldnn.is_available()
        and isa.upper() not in WITHOUT_BFLOAT16
    )


Module = TypeVar("Module", bound=nn.Module)
Kind = TypeVar("Kind")


def expect_class(value: object, kind: type[Kind]) -> Kind:
    """Returns a model or space itself as a `kind`; raises ArchitectureError if it has another class."""
    if not isinstance(value, kind):
        raise ArchitectureError(f"a {kind.__name__} is needed, not a {type(value).__name__}")
    return value


def on_device(module: Module, device: torch.device | str) -> Module:
    """Moves a module to a device, in channels-last format, in which convolutions are fastest."""
    placed: Module = module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if torch.device(device).type == "cpu":
        for part in placed.modules():
            if isinstance(part, nn.GroupNorm) and part.num_channels < 4 * part.num_groups:
                part.register_forward_pre_hook(_channels_first)
    return placed


def _channels_first(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """Avoids the slow CPU gradient of a channels-last group norm in bfloat16 with few channels per group.

    `python -m bench.group_norm` prints how slow.
    """
    slow = inputs[0].dtype == torch.bfloat16 and torch.is_grad_enabled()
    return (inputs[0].contiguous(),) if slow else None


def bytes_of(module: nn.Module) -> int:
    """Bytes of the parameters and buffers of a module."""
    return sum(each.numel() * each.element_size() for each in (*module.parameters(), *module.buffers()))


def autocast(device: torch.device) -> torch.autocast:
    """Returns an autocast context in the fast dtype of the device; disabled for float32."""
    dtype = fast_dtype(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)


def has_convolutions(module: nn.Module) -> bool:
    """Whether a model has convolutions, which mixed precision makes faster; small perceptrons gain nothing."""
    return any(isinstance(part, nn.Conv2d | nn.ConvTranspose2d) for part in module.modules())


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Writes a state dict as fp16 safetensors in the order of names, so that one state gives one sha256.

    Raises NotFiniteError for a tensor that is not finite, or not in fp16; nothing is written then.
    """
    halves = {
        name: value.detach().cpu().half().contiguous() if value.is_floating_point() else value.cpu()
        for name, value in sorted(state.items())
    }
    check_finite(halves)
    save_file(halves, path)
    path.chmod(0o644)  # save_file leaves it to its owner alone, and a worker may be another user


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raises NotFiniteError naming the first tensor with NaN or infinity and the number of others."""
    if names := not_finite(tensors):
        more = f", and {len(names) - 1} more tensors" if len(names) > 1 else ""
        raise NotFiniteError(f"{names[0]} holds NaN or infinity{more}")


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Returns the sorted names of the tensors with NaN or infinity."""
    return sorted(name for name, value in tensors.items() if not torch.isfinite(value).all())


def load_weights(module: nn.Module, path: Path) -> None:
    """Loads the tensors of `module` from a safetensors file with exactly these names and shapes.

    Raises WeightsMismatchError naming what is missing, too many, of another shape, or not finite.
    """
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise WeightsMismatchError(f"{path.name} is not a safetensors file ({error})") from error
    fit_state(module, state, path.name)


def fit_state(module: nn.Module, state: Mapping[str, Tensor], title: str) -> None:
    """Copies a state dict with exactly the names and shapes of `module`, in its own dtype.

    Raises WeightsMismatchError, with the title, naming what is missing, too many, of another shape, or not finite.
    """
    wanted = module.state_dict()
    faults = {
        "is missing": sorted(wanted.keys() - state.keys()),
        "is not of this architecture": sorted(state.keys() - wanted.keys()),
        "has another shape": sorted(n for n in wanted.keys() & state.keys() if wanted[n].shape != state[n].shape),
        "holds NaN or infinity": not_finite(state),
    }
    for fault, names in faults.items():
        if names:
            more = f", and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsMismatchError(f"{title}: {names[0]} {fault}{more}")
    module.load_state_dict(state)
