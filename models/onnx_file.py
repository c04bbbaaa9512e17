"""Reads and replaces the weights in an ONNX file, which are data alone, without the library onnx (18 MB).

An ONNX file is a message of Protocol Buffers; the fields read here keep their numbers in every version (onnx.proto,
`ModelProto`, `GraphProto` and `TensorProto`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
GRAPH, INITIALIZER = 7, 5  # fields of ModelProto and GraphProto
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9  # fields of TensorProto
FLOAT = 1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # how a field is written


def initializers(data: bytes | bytearray) -> dict[str, Array]:
    """The float32 weights of a model by name, as views of its bytes; raises ValueError for what is no ONNX file."""
    arrays = {}
    for graph in _parts(memoryview(data), GRAPH):
        for tensor in _parts(graph, INITIALIZER):
            fields = list(_fields(tensor))
            shape = [value for field, value in fields if field == DIMS]
            named = dict(fields)
            if named.get(DATA_TYPE) == FLOAT and RAW_DATA in named:
                arrays[bytes(named[NAME]).decode()] = np.frombuffer(named[RAW_DATA], "<f4").reshape(shape)
    if not arrays:
        raise ValueError("the file has no float32 weights")
    return arrays


def with_initializers(data: bytes, weights: Mapping[str, Array]) -> bytes:
    """The bytes of a model with other float32 weights, which broadcast to the shapes of its own.

    Raises ValueError for other names, and for a shape that does not fit.
    """
    changed = bytearray(data)
    own = initializers(changed)
    if own.keys() != weights.keys():
        raise ValueError(f"the weights differ in {', '.join(sorted(own.keys() ^ weights.keys())[:3])}")
    for name, array in own.items():
        array[...] = weights[name]
    return bytes(changed)


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (value for field, value in _fields(message) if field == wanted)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yields the number and the value of each field of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield field, value
        elif kind == BYTES:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field is longer than its message")
            yield field, message[at : at + size]
            at += size
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"a field is written in the way {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number at an offset, seven bits a byte, and the offset after it."""
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at
    raise ValueError("a number is cut off")
