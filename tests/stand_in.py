"""A stand-in for a GPU: a device of its own, whose tensors lie in main memory and are computed there for real.

Inside `gpu()` torch has a device `npu:0`, and `models.tensors.best_device` names it. An operation on tensors of it and
of the CPU fails, as on CUDA; so does a random draw on it with a generator of the CPU; values can be read as ever. What
was computed on the CPU is noted by name. (FakeTensorMode cannot stand here: it ends a process without CUDA at the first
gradient, and a runner at its first `.item()`.)

Not seen: kernels and arithmetic of CUDA; branches on `device.type == "cuda"`, which choose bfloat16, ask for free
memory and offload weights; and what is computed outside torch, by onnxruntime, numpy and scikit-learn.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from models import tensors

NAME = "npu"  # of the device type: one that safetensors knows, and torch has no own device of
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
# CUDA takes indices and masks of the CPU.
INDEXED = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default)
# How the operations begin that networks consist of; what is next to them on the CPU draws, reads, checks and shows.
NETWORK = (
    *("conv", "mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "batch_norm", "group_norm", "layer_norm"),
    *("avg_pool", "max_pool", "adaptive", "upsample", "embedding", "scaled_dot", "softmax", "relu", "silu", "gelu"),
    *("leaky_relu", "tanh", "sigmoid", "threshold_backward", "replication_pad", "fft_r2c", "fft_c2r", "fft_c2c"),
)
MATH = 0  # what attention is computed by where no fused kernel is: SDPBackend.MATH


class GpuTensor(Tensor):
    """A tensor of the stand-in; its values are in `held`."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: "type[GpuTensor]", values: Tensor) -> "GpuTensor":
        """Wraps values of the CPU."""
        with torch.inference_mode(False):  # a view of a tensor from outside inference mode is no inference tensor
            made: GpuTensor = Tensor._make_wrapper_subclass(
                cls,
                values.shape,
                strides=values.stride(),
                storage_offset=values.storage_offset(),
                dtype=values.dtype,
                layout=values.layout,
                device=torch.device(NAME, 0),
            )
        made.held = values
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"GpuTensor({self.held!r})"

    def numpy(self, *, force: bool = False) -> Any:
        """As on CUDA, only by force."""
        if not force:
            raise TypeError("can't convert a tensor of the GPU to numpy: use Tensor.cpu() first")
        return self.detach().cpu().numpy()

    def tolist(self) -> Any:
        """The values as numbers, in lists."""
        return self.detach().cpu().tolist()

    def untyped_storage(self) -> Any:
        """Where the values lie: safetensors looks for tensors that share memory."""
        return self.held.untyped_storage()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(function, args, kwargs or {})


class Watch(TorchDispatchMode):
    """Counts, by name, the operations computed on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.on_cpu: Counter[str] = Counter()

    def networks_on_cpu(self) -> set[str]:
        """The operations of networks among them."""
        return {name for name in self.on_cpu if name.lstrip("_").removeprefix("native_").startswith(NETWORK)}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_composite(function):
            with self:  # in inference mode what consists of other operations comes here whole
                return function.decompose(*args, **kwargs)
        if not _is_on_gpu(args, kwargs):
            self.on_cpu[function.overloadpacket.__name__] += 1
        return _run(function, args, kwargs)


# What depends on the operation alone is found once: this runs at each operation.


@cache
def _is_composite(function: Any) -> bool:
    """Whether `decompose` finds the operations that an operation consists of."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return key in function.py_kernels or torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), key)


@cache
def _written(function: Any) -> tuple[list[str], list[str]]:
    """The names of an operation's arguments, and of those that it changes in place and returns."""
    schema = function._schema
    if not any(each.alias_info and each.alias_info.is_write for each in schema.returns):
        return [], []
    written = [each.name for each in schema.arguments if each.alias_info and each.alias_info.is_write]
    return [each.name for each in schema.arguments], written


def _leaves(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _leaves(value)
        else:
            yield value


def _is_on_gpu(args: Any, kwargs: Any) -> bool:
    """Whether the result of an operation belongs on the stand-in: by the device it names, else by its tensors."""
    named = kwargs.get("device")
    if named is not None:
        return bool(torch.device(named).type == NAME)
    return any(isinstance(each, GpuTensor) for each in _leaves((args, *kwargs.values())))


def _run(function: Any, args: Any, kwargs: Any) -> Any:
    on_gpu = _is_on_gpu(args, kwargs)
    if on_gpu:
        _check(function, args, kwargs)
    if function is aten._fused_sdp_choice.default and on_gpu:
        return MATH
    found = function(*_inner(args), **{name: _inner(value) for name, value in kwargs.items()})
    if not on_gpu:
        return found
    changed = _changed(function, args, kwargs)
    return changed if changed is not None else _outer(found)


def _changed(function: Any, args: Any, kwargs: Any) -> Any:
    """The arguments that an operation changes in place and returns; None for another operation."""
    names, written = _written(function)
    if not written:
        return None
    given = dict(zip(names, args, strict=False)) | kwargs
    found = [given[name] for name in written]
    return found[0] if len(found) == 1 else tuple(found)


def _check(function: Any, args: Any, kwargs: Any) -> None:
    """Raises RuntimeError for what CUDA refuses."""
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type != NAME:
        raise RuntimeError(f"{function}: expected a generator of the GPU, got one of {generator.device}")
    if function in COPIES:
        return
    seen = args[:1] if function in INDEXED else (args, *kwargs.values())
    tensors = [each for each in _leaves(seen) if isinstance(each, Tensor)]
    strays = [each for each in tensors if not isinstance(each, GpuTensor) and each.ndim > 0]
    if strays and len(strays) < len(tensors):
        raise RuntimeError(f"{function}: expected all tensors on the GPU, got {tuple(strays[0].shape)} on the CPU")


def _inner(value: Any) -> Any:
    if isinstance(value, GpuTensor):
        return value.held
    if isinstance(value, list | tuple):
        return type(value)([_inner(each) for each in value])
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


def _outer(value: Any) -> Any:
    if isinstance(value, Tensor):
        return GpuTensor(value)
    return type(value)([_outer(each) for each in value]) if isinstance(value, list | tuple) else value


class _Module:
    """What `torch.npu` is to be; a process has one stand-in."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """There is no generator of its own."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


@cache
def _register() -> torch.library.Library:
    """The device, and the three operations that torch calls on it past its Python modes, as for an index in a list."""
    _setup_privateuseone_for_python_backend(NAME, _Module())
    library = torch.library.Library("aten", "IMPL")
    for function in (aten.empty.memory_format, aten.empty_strided.default):

        def make(*args: Any, function: Any = function, **kwargs: Any) -> Tensor:
            return GpuTensor(function(*args, **kwargs | {"device": torch.device("cpu")}))

        library.impl(function, make, "PrivateUse1")

    def copy(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
        _inner(target).copy_(_inner(source))
        return target

    library.impl(aten._copy_from.default, copy, "PrivateUse1")
    return library


@contextmanager
def gpu() -> Iterator[Watch]:
    """The stand-in as the device of this process; gives what is computed on the CPU meanwhile."""
    _register()
    best_device = tensors.best_device
    # On threads of their own, gradients would be computed out of sight.
    with pytest.MonkeyPatch.context() as patch, torch.autograd.set_multithreading_enabled(False), Watch() as watch:
        for module in list(sys.modules.values()):
            if getattr(module, "best_device", None) is best_device:
                patch.setattr(module, "best_device", lambda: torch.device(NAME, 0))
        yield watch
