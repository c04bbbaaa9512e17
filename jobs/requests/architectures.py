"""What models of each architecture can do: the one table that requests, their refusals and runners consult."""

from collections.abc import Mapping
from typing import Any, NamedTuple

LATENT_MODES = ("sample", "reconstruct", "interpolate", "traverse", "arithmetic")
TEXT_MODES = ("text-to-image", "image-to-image", "inpaint")
ALL_MODES = (*LATENT_MODES, "translate", "denoise-steps", *TEXT_MODES, "upscale")


class Architecture(NamedTuple):
    """What models of an architecture can do.

    modes: of a generation. encoder: whether they encode images, so that collections can be made in their space.
    embeds_text: whether they encode texts into that space too. style_guided: whether denoising can be guided towards a
    style; a card may say so of a single model. recipe: that trains them, if one does.
    """

    modes: tuple[str, ...] = ()
    encoder: bool = False
    embeds_text: bool = False
    style_guided: bool = False
    recipe: str | None = None

    @property
    def is_diffusion(self) -> bool:
        """Whether images are denoised from noise without a prompt."""
        return "denoise-steps" in self.modes

    @property
    def is_prompted(self) -> bool:
        """Whether images are generated from a prompt."""
        return "text-to-image" in self.modes


ARCHITECTURES = {
    "mlp-vae": Architecture(LATENT_MODES, encoder=True, recipe="vae"),
    "conv-vae": Architecture(LATENT_MODES, encoder=True, recipe="vae"),
    "mlp-gan": Architecture(("sample", "interpolate", "traverse", "arithmetic"), recipe="gan"),
    "dcgan": Architecture(LATENT_MODES, encoder=True, recipe="dcgan"),
    "cyclegan": Architecture(("translate",), recipe="cyclegan"),
    "ddpm": Architecture(("sample", "interpolate", "denoise-steps"), style_guided=True, recipe="ddpm"),
    "classifier": Architecture(recipe="classifier"),
    "style-net": Architecture(recipe="style"),
    "efficientnet-lite": Architecture(),
    "srvgg-net-compact": Architecture(("upscale",)),
    "rrdb-net": Architecture(("upscale",)),
    "stable-diffusion": Architecture(TEXT_MODES, style_guided=True),
    "diffusers": Architecture(TEXT_MODES),
    "kandinsky": Architecture(encoder=True, embeds_text=True),
    "kandinsky-2.2": Architecture(encoder=True, embeds_text=True),
    "stable-unclip": Architecture(encoder=True),
    "ip-adapter": Architecture(encoder=True),
}
RECIPES = tuple(dict.fromkeys(known.recipe for known in ARCHITECTURES.values() if known.recipe))


def dim_of(architecture: Mapping[str, Any]) -> int | None:
    """Values of a vector in the space of a model with an encoder, where its card has them."""
    if not capabilities(architecture).encoder:
        return None
    parts = {**architecture.get("clip", {}), **architecture}
    dim: int | None = parts.get("latent_dim") or parts.get("projection_dim")
    return dim


def capabilities(architecture: Mapping[str, Any]) -> Architecture:
    """What a model can do, by the `architecture` of its card; nothing for a LoRA and for a part of other models."""
    known = ARCHITECTURES.get(architecture.get("name", ""), Architecture())
    return known._replace(style_guided=known.style_guided or bool(architecture.get("style_guided")))
