"""Reads the tensors of a PyTorch file from before version 1.6 without running code from the file.

Such a file is four pickled objects (a magic number, a version, facts of the writing machine, and the state dict with
its tensors as references), the pickled list of storage keys, and then for each key its number of elements as an int64
and its raw elements. An unpickler would call what the file names; here `pickletools.genops` lists the opcodes and a
small table maps each to plain data. An opcode that is not in the table is refused.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
FLOAT32 = "torch FloatStorage"
ELEMENT_BYTES = {FLOAT32: 4, "torch LongStorage": 8}  # the second: counts of batches, which are skipped
_MARK = object()


@dataclass(frozen=True)
class _Global:
    """A name that the file refers to; it is never imported."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """A reference to raw elements later in the file, by the class of their type."""

    key: str
    element_type: str


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, by its position, shape and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        at = max(i for i, item in enumerate(self.stack) if item is _MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def last(self, n: int) -> tuple[Any, ...]:
        items = tuple(self.stack[-n:])
        del self.stack[-n:]
        return items


def read_legacy(path: Path, prefix: str = "") -> dict[str, Array]:
    """Reads the float32 tensors whose names begin with `prefix`, in the order of the file.

    Raises ValueError for a file of another format, for an opcode that no state dict needs, and for other elements.
    """
    with path.open("rb") as file:
        try:
            if _read_object(file) != MAGIC_NUMBER:
                raise ValueError("its magic number is another")
            _version, _machine = _read_object(file), _read_object(file)
            every = {name: tensor for name, tensor in _read_object(file).items() if isinstance(tensor, _Tensor)}
            types = {tensor.storage.key: tensor.storage.element_type for tensor in every.values()}
            tensors = {
                name: tensor
                for name, tensor in every.items()
                if name.startswith(prefix) and tensor.storage.element_type == FLOAT32
            }
            keys = _read_object(file)
            storages = _read_storages(file, keys, types, {tensor.storage.key for tensor in tensors.values()})
            return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name} is not a PyTorch file of the old format with float32 tensors") from error


def _read_storages(file: BinaryIO, keys: list[str], types: dict[str, str], wanted: set[str]) -> dict[str, Array]:
    """Reads the wanted storages and skips the others: most of a VGG file is fully connected layers."""
    storages = {}
    for key in keys:
        size = int.from_bytes(file.read(8), "little", signed=True)
        if key in wanted:
            storages[key] = np.frombuffer(file.read(4 * size), "<f4", count=size)
        else:
            file.seek(ELEMENT_BYTES[types[key]] * size, 1)
    return storages


def _view(tensor: _Tensor, storage: Array) -> Array:
    """Returns the tensor's elements; raises ValueError for a view outside its storage."""
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if min(tensor.offset, *tensor.shape, *tensor.strides) < 0 or last >= storage.size:
        raise ValueError("a tensor reaches outside its storage")
    strides = tuple(4 * stride for stride in tensor.strides)
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()


def _read_object(file: BinaryIO) -> Any:
    machine = _Machine()
    for opcode, arg, _ in pickletools.genops(file):
        if opcode.name != "STOP":
            _OPCODES[opcode.name](machine, arg)
    return machine.stack.pop()


def _call(machine: _Machine, _: Any) -> None:
    """Handles the calls of a state dict: an ordered dict, and a tensor from its storage; else ValueError."""
    function, args = machine.last(2)
    if function == _Global("collections OrderedDict"):
        machine.stack.append(dict(*args))
    elif function in (_Global("torch._utils _rebuild_tensor"), _Global("torch._utils _rebuild_tensor_v2")):
        machine.stack.append(_Tensor(*args[:4]))
    else:
        raise ValueError(f"calls {function}")


def _storage(machine: _Machine, _: Any) -> None:
    kind, element_type, key, *_rest = machine.stack.pop()
    if kind != "storage" or not isinstance(element_type, _Global) or element_type.name not in ELEMENT_BYTES:
        raise ValueError(f"refers to {element_type}")
    machine.stack.append(_Storage(key, element_type.name))


def _set_items(machine: _Machine, items: list[Any]) -> None:
    machine.stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _append_all(machine: _Machine, _: Any) -> None:
    items = machine.since_mark()
    machine.stack[-1].extend(items)


def _push(machine: _Machine, arg: Any) -> None:
    machine.stack.append(arg)


def _put(machine: _Machine, arg: int) -> None:
    machine.memo[arg] = machine.stack[-1]


def _get(machine: _Machine, arg: int) -> None:
    machine.stack.append(machine.memo[arg])


_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1"), _push),
    **dict.fromkeys(("BINUNICODE", "BINSTRING", "SHORT_BINSTRING"), _push),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _get),
    "GLOBAL": lambda machine, arg: machine.stack.append(_Global(arg)),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.stack.append(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.stack.append(machine.last(3)),
    "APPEND": lambda machine, _: machine.stack[-2].append(machine.stack.pop()),
    "APPENDS": _append_all,
    "SETITEM": lambda machine, _: _set_items(machine, [*machine.last(2)]),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.since_mark()),
    "BINPERSID": _storage,
    "REDUCE": _call,
    "BUILD": lambda machine, _: machine.stack.__delitem__(-1),  # a state dict's _metadata
}
