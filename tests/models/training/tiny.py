"""Tiny runs of every recipe."""

from pathlib import Path
from typing import Any

from models.data.dataset import Dataset
from models.training import (
    autoencoder,
    classifier,
    clip,
    cyclegan,
    dcgan,
    ddpm,
    gan,
    kandinsky,
    stable_diffusion,
    upscaler,
    vae,
)
from models.training.recipe import Recipe, train_model
from models.training.run import Schedule

SETTINGS: dict[str, tuple[Recipe, str, dict[str, Any]]] = {
    "vae of digits": (vae.RECIPE, "digits", {}),
    "vae of smileys": (vae.RECIPE, "smileys", {"latent_dim": 4}),
    "gan": (gan.RECIPE, "digits", {}),
    "dcgan": (dcgan.RECIPE, "smileys", {"base_channels": 8, "encoder_channels": 8, "encoder_share": 0.5}),
    "dcgan of latents": (
        dcgan.RECIPE,
        "avatars",
        {"autoencoder": "kl", "base_channels": 8, "encoder_channels": 8, "encoder_share": 0.5},
    ),
    "cyclegan": (
        cyclegan.RECIPE,
        "avatars",
        {"attribute": "glasses", "base_channels": 8, "n_blocks": 1, "pool_size": 6},
    ),
    "ddpm": (ddpm.RECIPE, "digits", {"block_out_channels": (8, 16)}),
    "classifier": (classifier.RECIPE, "avatars", {"base_channels": 8}),
    "clip": (clip.RECIPE, "tiny avatars", {"base_channels": 8, "hidden_size": 32, "text_layers": 1}),
    "autoencoder": (autoencoder.RECIPE, "tiny avatars", {"block_out_channels": (32, 32, 32), "num_vq_embeddings": 16}),
    "autoencoder of gray images": (
        autoencoder.RECIPE,
        "digits",
        {"block_out_channels": (32, 32, 32), "num_vq_embeddings": 16},
    ),
    "autoencoder of patches": (
        autoencoder.RECIPE,
        "tiny avatars",
        {
            **{"block_out_channels": (32, 32), "num_vq_embeddings": 4, "patch_size": 2},
            **{"latent_noise": 0.1, "sharpness_weight": 1.0},
        },
    ),
    "kandinsky": (
        kandinsky.RECIPE,
        "tiny avatars",
        {"clip": "clip", "autoencoder": "movq", "block_out_channels": (32, 32)},
    ),
    "ddpm of latents": (
        ddpm.RECIPE,
        "tiny avatars",
        {"autoencoder": "kl", "block_out_channels": (8, 16), "patch_size": 1},
    ),
    "conditioned ddpm": (
        ddpm.RECIPE,
        "avatars",
        {"attributes": ("hat", "glasses"), "block_out_channels": (8, 16), "patch_size": 8},
    ),
    "autoencoder-kl": (
        autoencoder.RECIPE,
        "tiny avatars",
        {"architecture": "autoencoder-kl", "block_out_channels": (32, 32, 32)},
    ),
    "stable_diffusion": (
        stable_diffusion.RECIPE,
        "tiny avatars",
        {"clip": "clip", "autoencoder": "kl", "block_out_channels": (32, 32)},
    ),
    "upscaler": (upscaler.RECIPE, "avatars", {"num_feat": 8, "num_conv": 1, "crop_size": 8}),
}

SCHEDULE = Schedule(num_steps=12, batch_size=4, seed=3, sample_every=6, checkpoint_every=4)


def train(name: str, data: dict[str, Dataset], folder: Path, schedule: Schedule = SCHEDULE, **callbacks: Any) -> Any:
    recipe, set_name, chosen = SETTINGS[name]
    settings = recipe.settings(**chosen)
    return train_model(recipe, data[set_name], settings, schedule, folder, model_id="m", data=set_name, **callbacks)
