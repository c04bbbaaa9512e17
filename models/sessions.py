"""Opens onnxruntime sessions of the networks that cards name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from models.catalogue import WEIGHTS_DIR, card, checked_file
from models.onnx_file import Array, with_initializers

# cuDNN's exhaustive search would time every algorithm for each image size, and may choose different ones in two runs.
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}


def open_session(
    model_id: str, name: str, weights_dir: Path = WEIGHTS_DIR, weights: Mapping[str, Array] | None = None
) -> onnxruntime.InferenceSession:
    """Opens a file of a card, on the GPU if onnxruntime supports it (package onnxruntime-gpu), else on all CPU cores.

    weights: of the same network, instead of those in the file. Raises WeightsError for a missing or different file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    options.log_severity_level = 3  # silences one warning for each weight the graph carries twice
    providers: list[Any] = ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", CUDA_OPTIONS))
    path = checked_file(card(model_id), name, weights_dir)
    model = path if weights is None else with_initializers(path.read_bytes(), weights)
    return onnxruntime.InferenceSession(model, options, providers=providers)


def available_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def device_of(session: onnxruntime.InferenceSession) -> str:
    """Returns the device of a session, `cuda` or `cpu`."""
    return "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"
