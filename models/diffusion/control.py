"""ControlNets: networks that condition a text-to-image model on images of edges, depth or poses.

Zhang et al. 2023, "Adding conditional control to text-to-image diffusion models".
"""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel
from numpy.typing import NDArray
from torch import Tensor, nn

from models.catalogue import CONTROLNET_FILES, configuration
from models.diffusion.single_file import check_fit, shapes_of
from models.errors import AdditionError

CONFIG, WEIGHTS = CONTROLNET_FILES
SHARED = ("in_channels", "block_out_channels", "layers_per_block", "cross_attention_dim")  # with the UNet


@dataclass(frozen=True)
class Control:
    """A ControlNet and images (n, 3, h, w) in [0, 1], used from the share `start` of the steps to the share `end`."""

    network: nn.Module
    images: Tensor
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def arguments(self) -> dict[str, Any]:
        """Returns what a pipeline takes beside the images."""
        return {
            "controlnet_conditioning_scale": self.scale,
            "control_guidance_start": self.start,
            "control_guidance_end": self.end,
        }


def load_controlnet(folder: Path, dtype: torch.dtype) -> nn.Module:
    """Loads a ControlNet from a safetensors file with its configuration beside it.

    The keys are named as diffusers names them, or as the authors do (`control_model.…`). Raises ValueError naming what
    the file lacks or what does not fit.
    """
    path = folder / WEIGHTS
    check_fit(path, "controlnet", shapes_of(path), folder / CONFIG)
    kind: Any = ControlNetModel
    loaded: nn.Module = kind.from_single_file(str(path), config=str(folder), torch_dtype=dtype, local_files_only=True)
    return loaded


def controlnet_config(base: str) -> dict[str, Any]:
    """Returns the configuration of the ControlNets of a family: that of the family's UNet."""
    taken = inspect.signature(ControlNetModel).parameters
    unet = configuration(base)["unet/config.json"]
    return {"_class_name": "ControlNetModel", **{name: value for name, value in unet.items() if name in taken}}


def check_control(pipeline: Any, network: Any) -> None:
    """Raises AdditionError for a ControlNet of a UNet of another shape, or of latents of another size."""
    if not hasattr(pipeline, "unet"):
        raise AdditionError(0, "the model has no UNet")
    for name in SHARED:
        own, other = (_listed(getattr(part.config, name)) for part in (network, pipeline.unet))
        if own != other:
            raise AdditionError(0, f"its {name} is {own}, and that of the model's UNet {other}")
    factor = 2 ** (len(network.config.conditioning_embedding_out_channels) - 1)
    if factor != pipeline.vae_scale_factor:
        message = f"it divides sides by {factor}, and the autoencoder of the model by {pipeline.vae_scale_factor}"
        raise AdditionError(0, message)


def _listed(value: Any) -> Any:
    return [*value] if isinstance(value, list | tuple) else value


def canny(image: NDArray[np.uint8], low: int, high: int) -> NDArray[np.uint8]:
    """Returns the edges of an image (h, w, 3) in white on black (Canny 1986).

    low, high: gradients from which an edge goes on, and begins.
    """
    edges = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), low, high)
    return np.repeat(edges[:, :, None], 3, axis=2)
