"""What models of each architecture can do: the one table that requests, their refusals and runners consult."""

from collections.abc import Mapping
from typing import Any, NamedTuple

LATENT_MODES = ("sample", "reconstruct", "interpolate", "traverse", "arithmetic")
TEXT_MODES = ("text-to-image", "image-to-image", "inpaint")
ALL_MODES = (*LATENT_MODES, "translate", "denoise-steps", *TEXT_MODES, "vary", "upscale")


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
    "upscaler": Architecture(("upscale",)),
    "stable-diffusion": Architecture(TEXT_MODES, style_guided=True, recipe="stable-diffusion"),
    "diffusers": Architecture(TEXT_MODES),
    "kandinsky": Architecture(("vary",), encoder=True, embeds_text=True, recipe="kandinsky"),
    "kandinsky-2.2": Architecture(("vary",), encoder=True, embeds_text=True),
    "stable-unclip": Architecture(("vary",), encoder=True),
    "ip-adapter": Architecture(("vary",), encoder=True),
    "lora": Architecture(recipe="lora"),
    "textual-inversion": Architecture(),
    "controlnet": Architecture(),
    "image-prompt": Architecture(),
    "clip": Architecture(recipe="clip"),
    "movq": Architecture(recipe="autoencoder"),
    "autoencoder-kl": Architecture(recipe="autoencoder"),
}
RECIPES = tuple(dict.fromkeys(known.recipe for known in ARCHITECTURES.values() if known.recipe))


# Parts of other models: the key of a card that has them, and their architecture by that of the whole.
PARTS = {
    "clip": {"kandinsky": "clip"},
    "autoencoder": {"kandinsky": "movq"} | dict.fromkeys(("stable-diffusion", "ddpm", "dcgan"), "autoencoder-kl"),
}


def part_of(architecture: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """The architecture of a model's `clip` or `autoencoder`; that of the model itself if it has none."""
    kind = PARTS.get(part, {}).get(architecture.get("name", ""))
    return {"name": kind, **architecture[part]} if kind and part in architecture else architecture


def dim_of(architecture: Mapping[str, Any]) -> int | None:
    """Values of a vector in the space of a model with an encoder, where its card has them."""
    if not capabilities(architecture).encoder:
        return None
    parts = {**architecture.get("clip", {}), **architecture}
    dim: int | None = parts.get("latent_dim") or parts.get("projection_dim")
    return dim


def capabilities(architecture: Mapping[str, Any]) -> Architecture:
    """What a model can do, by the `architecture` of its card; nothing for additions to, and parts of, other models."""
    known = ARCHITECTURES.get(architecture.get("name", ""), Architecture())
    return known._replace(style_guided=known.style_guided or bool(architecture.get("style_guided")))
