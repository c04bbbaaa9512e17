"""Memory that a text-to-image model needs on a device: the largest image that fits, and weights kept in main memory."""

from typing import Any

import torch

from models.diffusion.text_to_image import TextToImageModel
from models.memory import available_memory
from models.tensors import bytes_of

# Values of the UNet's largest block for each pixel of an image: 320 channels, widened eight times, at an eighth of the
# sides, with skip connections and their copies, twice for guidance.
DENOISING = 512
DECODING = 8  # times the channels of the decoder's second last block: input, norm, convolution, sum and their copies
SPARE = 1.2  # free memory of a GPU, relative to a model's weights, from which the weights are moved to it


def offloaded(model: TextToImageModel, device: torch.device) -> bool:
    """Offloads a full-size model if its weights do not fit on the GPU; its parts are then moved there one at a time.

    Returns whether it is offloaded.
    """
    if device.type != "cuda" or not offloads(bytes_of(model), available_memory(device)):
        return False
    model.pipeline.enable_model_cpu_offload(device=device)
    return True


def offloads(weights: int, free: int) -> bool:
    """Returns whether a model with `weights` bytes stays in main memory, given `free` bytes on the GPU."""
    return SPARE * weights > free


def needed_bytes(model: TextToImageModel, width: int, height: int) -> int:
    """Estimates the bytes that one image needs, for denoising and for decoding, in tiles if the model uses them."""
    vae: Any = model.pipeline.vae
    pixels = width * height
    decoded = min(pixels, vae.tile_sample_min_size**2) if vae.use_tiling else pixels
    channels = vae.config.block_out_channels[:2][-1]
    return int(vae.dtype.itemsize * (DENOISING * pixels + DECODING * channels * decoded))


def fitting_size(model: TextToImageModel, width: int, height: int, free: int) -> tuple[int, int]:
    """Largest size (width, height) of this aspect ratio, in multiples of 8, that fits `free` bytes; (0, 0) if none."""
    for rows in range(height // 8, 0, -1):
        size = max(8, width * rows // height * 8), 8 * rows
        if needed_bytes(model, *size) <= free:
            return size
    return 0, 0
