"""Enlarges the images of a model's own size, which then are changed at the size of the result."""

import numpy as np
import torch
from torch import Tensor

from jobs.requests.text_to_image import TextToImage
from models.tensors import to_tensor
from models.upscale.real_esrgan import Upscaler
from models.upscale.tiles import upscale
from worker.run import Task
from worker.runners.images import center_crop
from worker.runners.network import load_network, pixels


def enlarged(task: Task, params: TextToImage, images: Tensor) -> Tensor:
    """The images (n, 3, h, w) at the size of the request: by an upscaler, if it names one, and resampled.

    What is not finite stays so, for the error of its job.
    """
    finite = images.isfinite().flatten(1).all(1)
    made = pixels(images.nan_to_num(0.0, 0.0, 0.0))
    if params.hires_upscaler:
        made = upscale(load_network(task, params.hires_upscaler, Upscaler).module, made)
    larger = to_tensor(np.stack([center_crop(image, *params.size) for image in made]), images.device)
    return torch.where(finite[:, None, None, None], larger, torch.nan)
