"""What a text-to-image model needs of a device: an estimate of which image fits, and weights put aside."""

from typing import Any

import torch

from models.diffusion.text_to_image import TextToImageModel
from models.memory import available_memory
from models.tensors import bytes_of

# Values of the UNet's largest block for each pixel of an image: 320 channels, eight times widened, at an eighth of its
# sides, with skip connections and their copies; with guidance there are two such rows.
DENOISING = 512
DECODING = 8  # times the channels of the decoder's last but one block: input, norm, convolution, sum and their copies
SPARE = 1.2  # the weights of a model are put on a GPU that has a fifth more free


def offloaded(model: TextToImageModel, device: torch.device) -> bool:
    """Whether a full-size model stays beside a GPU with no room for its weights; its parts then go there by turns."""
    if device.type != "cuda" or not offloads(bytes_of(model), available_memory(device)):
        return False
    model.pipeline.enable_model_cpu_offload(device=device)
    return True


def offloads(weights: int, free: int) -> bool:
    """Whether a model of so many bytes stays in main memory beside a GPU with so many free."""
    return SPARE * weights > free


def needed_bytes(model: TextToImageModel, width: int, height: int) -> int:
    """About what one image takes: for denoising, and for decoding, a tile at a time where the model does so."""
    vae: Any = model.pipeline.vae
    pixels = width * height
    decoded = min(pixels, vae.tile_sample_min_size**2) if vae.use_tiling else pixels
    channels = vae.config.block_out_channels[:2][-1]
    return int(vae.dtype.itemsize * (DENOISING * pixels + DECODING * channels * decoded))


def fitting_size(model: TextToImageModel, width: int, height: int, free: int) -> tuple[int, int]:
    """The largest size in that shape, of multiples of 8, for which so many bytes are enough; (0, 0) where none is."""
    for rows in range(height // 8, 0, -1):
        size = max(8, width * rows // height * 8), 8 * rows
        if needed_bytes(model, *size) <= free:
            return size
    return 0, 0
