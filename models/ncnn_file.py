"""Reads the weights of an ncnn model, which are data alone: a list of layers and a file of numbers.

The `.param` file has a line for each layer: its type, its name, the numbers and the names of its inputs and outputs,
and its parameters as `key=value`. The `.bin` file has the weights in the order of the layers (ncnn's wiki, "param and
model file structure").
"""

from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]
MAGIC_NUMBER = "7767517"
HALF = 0x01306B47  # before a kernel of float16, padded to a multiple of four bytes
WITHOUT_WEIGHTS = ("Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle")


def read_ncnn(param: Path, weights: Path) -> list[Array]:
    """Reads the weights in the order of the layers: of a convolution its kernel (out, in, h, w) and its bias, of a
    PReLU its slopes.

    Raises ValueError for another format, for a layer with weights of another type, and for a file of another length.
    """
    magic, _counts, *lines = param.read_text(encoding="ascii").splitlines()
    if magic != MAGIC_NUMBER:
        raise ValueError(f"{param.name} is not a list of ncnn layers")
    data, at = weights.read_bytes(), 0
    arrays: list[Array] = []
    for line in lines:
        kind, _name, n_inputs, n_outputs, *rest = line.split()
        options = dict(each.split("=", 1) for each in rest[int(n_inputs) + int(n_outputs) :])
        if kind == "Convolution":
            kernel, at = _kernel(data, at, int(options["6"]))
            out, side = int(options["0"]), int(options["1"])
            bias, at = _floats(data, at, out if options.get("5") == "1" else 0)
            arrays += [kernel.reshape(out, -1, side, side), bias]
        elif kind == "PReLU":
            slopes, at = _floats(data, at, int(options["0"]))
            arrays.append(slopes)
        elif kind not in WITHOUT_WEIGHTS:
            raise ValueError(f"{param.name} has a layer of the type {kind}")
    if at != len(data):
        raise ValueError(f"{weights.name} has {len(data)} bytes, and the layers have {at}")
    return arrays


def _kernel(data: bytes, at: int, size: int) -> tuple[Array, int]:
    """The kernel at an offset, and the offset after it."""
    if int.from_bytes(data[at : at + 4], "little") != HALF:
        raise ValueError("a kernel is not in float16")
    return np.frombuffer(data, "<f2", size, at + 4), at + 4 + -(-2 * size // 4) * 4


def _floats(data: bytes, at: int, size: int) -> tuple[Array, int]:
    return np.frombuffer(data, "<f4", size, at), at + 4 * size
