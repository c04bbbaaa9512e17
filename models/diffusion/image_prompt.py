"""IP-Adapters: a text-to-image model attends to an image as it does to the words of a prompt.

Ye et al. 2023, "IP-Adapter: text compatible image prompt adapter for text-to-image diffusion models".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import (
    ImageProjection,
    IPAdapterFullImageProjection,
    IPAdapterPlusImageProjection,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from models.catalogue import IP_ADAPTER_FILES
from models.errors import AdditionError

CONFIG, ENCODER, ADAPTER = IP_ADAPTER_FILES
PARTS = ("image_proj", "ip_adapter")  # how the keys of an adapter begin
PROJECTIONS = (ImageProjection, IPAdapterPlusImageProjection, IPAdapterFullImageProjection)


class ImagePrompt(nn.Module):
    """A CLIP image encoder, and the weights of an adapter by part and name."""

    def __init__(self, image_encoder: nn.Module, adapter: dict[str, dict[str, Tensor]]) -> None:
        super().__init__()
        self.image_encoder: Any = image_encoder
        self.adapter = adapter

    def encode(self, image: Tensor, *, hidden: bool) -> Tensor:
        """Encodes an image (1, 3, h, w) in [0, 1], and what guidance leads away from, in a batch of two.

        hidden: the second last hidden states (2, 1, tokens, width), which adapters named "plus" attend to, and for
        guidance those of a black image; otherwise the embeddings (2, 1, dim), and for guidance 0.
        """
        side, dtype = self.image_encoder.config.image_size, self.image_encoder.dtype
        seen = F.interpolate(image.float(), (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(each)[:, None, None].to(seen) for each in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
        pixel_values = ((seen - mean) / std).to(dtype)
        if hidden:
            both = torch.cat([torch.zeros_like(pixel_values), pixel_values])
            states: Tensor = self.image_encoder(both, output_hidden_states=True).hidden_states[-2]
            return states[:, None]
        embeds = self.image_encoder(pixel_values).image_embeds
        return torch.cat([torch.zeros_like(embeds), embeds])[:, None]


def load_image_prompt(folder: Path, dtype: torch.dtype) -> ImagePrompt:
    """Loads an IP-Adapter and its image encoder from a folder; raises ValueError for files that are no such parts."""
    kind: Any = CLIPVisionModelWithProjection
    try:
        state = load_file(folder / ADAPTER)
        encoder = kind.from_pretrained(
            (folder / CONFIG).parent, dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"a file is damaged: {str(error).strip().partition(chr(10))[0]}") from error
    adapter = {
        part: {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
        for part in PARTS
    }
    if not all(adapter.values()):
        raise ValueError(f"{ADAPTER} holds no IP-Adapter: it needs keys that begin with image_proj. and ip_adapter.")
    return ImagePrompt(encoder, adapter)


@contextmanager
def with_image_prompt(pipeline: Any, prompt: ImagePrompt, scale: float) -> Iterator[bool]:
    """Puts an adapter on the UNet inside the context; then all is as it was.

    Yields whether it attends to hidden states, see `ImagePrompt.encode`. Raises AdditionError for one of another UNet.
    """
    unet = getattr(pipeline, "unet", None)
    if unet is None:
        raise AdditionError(0, "the model has no UNet")
    processors, projection = dict(unet.attn_processors), unet.encoder_hid_proj
    kind = unet.config.encoder_hid_dim_type
    try:
        try:
            unet._load_ip_adapter_weights([prompt.adapter], low_cpu_mem_usage=False)
        except (KeyError, RuntimeError, ValueError, IndexError) as error:
            what = str(error).strip().splitlines()[-1].strip()
            raise AdditionError(0, f"its weights do not fit the UNet of the model: {what}") from error
        pipeline.set_ip_adapter_scale(scale)
        [layer] = unet.encoder_hid_proj.image_projection_layers
        if not isinstance(layer, PROJECTIONS):
            raise AdditionError(0, "it reads more than an image, such as faces that another network found")
        yield not isinstance(layer, ImageProjection)
    finally:
        unet.encoder_hid_proj = projection  # first: that of the adapter may have processors too
        unet.set_attn_processor(processors)
        unet.config.encoder_hid_dim_type = kind
