"""Trains a DCGAN and then its encoder.

    python -m models.training.dcgan --data avatars --id dcgan-avatars
    python -m models.training.dcgan --data avatars --id latent-dcgan --autoencoder ddpm-avatars --base-channels 64 \
        --learning-rate 5e-4 --ema-decay 0.999
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from models.data.dataset import Dataset
from models.generative.dcgan import Dcgan, discriminator, latent_discriminator
from models.generative.gan import discriminator_loss, generator_loss, gradient_penalty
from models.tensors import autocast, on_device
from models.training.autoencoder import encoded, found_kl
from models.training.recipe import Recipe, Trained, architecture_of, command, initial_model
from models.training.run import Run, Schedule, State, averaged

PENALTY_WEIGHT, PENALTY_EVERY = 0.1, 16  # of the discriminator's gradients; steps (Karras et al. 2020, appendix B)
PIXELS_WEIGHT, LATENTS_WEIGHT = 10.0, 2.5  # of the encoder's reconstruction error: latents spread four times as wide
UNTRAINED_ENCODER = {
    "code": "encoder_untrained",
    "message": "The training ended before the steps of its encoder: samples can be used, reconstructions cannot.",
}


@dataclass(frozen=True)
class DcganSettings:
    """Hyperparameters of a DCGAN and its encoder."""

    autoencoder: str = field(
        default="", metadata={"help": "folder of an autoencoder's training; trains in pixel space when absent"}
    )
    latent_dim: int = field(default=64, metadata={"help": "values of z"})
    base_channels: int = field(default=48, metadata={"help": "of the generator and the discriminator (ngf, ndf)"})
    encoder_channels: int = field(default=32, metadata={"help": "of the encoder's first layer"})
    learning_rate: float = field(default=2e-4, metadata={"help": "of both adversarial Adams"})
    encoder_learning_rate: float = field(default=1e-3, metadata={"help": "of the encoder's Adam, falling to 0"})
    ema_decay: float = field(
        default=0.998, metadata={"help": "of the moving average of the generator, which is stored"}
    )
    encoder_share: float = field(default=0.25, metadata={"help": "share of the steps, at the end, for the encoder"})


def train_dcgan(dataset: Dataset, settings: DcganSettings, run: Run) -> Trained:
    """Trains a GAN of pixels as Radford et al., or of latents, then an encoder for the finished generator.

    The encoder learns the z of what is generated, and to reconstruct real images in the discriminator's features
    (Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric").
    """
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    torch.manual_seed(run.schedule.seed)
    model, architecture, before = _initial(settings, images, run)
    if model.vae:
        seen = encoded(model.vae, images)
        channels, side = seen.shape[1:3]
        critic = on_device(latent_discriminator(channels, settings.base_channels, side), run.device)
        betas = (0.0, 0.99)
    else:
        seen, betas = images, (0.5, 0.999)
        critic = on_device(discriminator(images.shape[1], settings.base_channels), run.device)
    average, layers = averaged(model.layers, settings.ema_decay)
    kept = Dcgan(layers, settings.latent_dim, model.encoder, model.vae)
    optimizer_g = torch.optim.Adam(model.layers.parameters(), lr=settings.learning_rate, betas=betas)
    optimizer_d = torch.optim.Adam(critic.parameters(), lr=settings.learning_rate, betas=betas)
    optimizer_e = torch.optim.Adam(model.encoder.parameters(), lr=settings.encoder_learning_rate)
    adversarial_steps = round(run.schedule.num_steps * (1 - settings.encoder_share))
    fixed = torch.randn(64, settings.latent_dim, device=run.device)
    shown = images[:32].float() / 255

    def sample() -> Tensor:
        kept.eval()
        with torch.inference_mode():
            if run.step <= adversarial_steps:
                return kept.decode(fixed)
            return torch.stack([shown, kept.decode(kept.encode(shown))], 1).flatten(0, 1)

    state: dict[str, State] = {"model": model, "critic": critic, "average": average}
    optimizers: dict[str, State] = {"optimizer_g": optimizer_g, "optimizer_d": optimizer_d, "optimizer_e": optimizer_e}
    for step in run.steps(sample, **state, **optimizers):
        (real,) = run.batch(seen)
        real = real.float() if model.vae else real.float() / 255
        z = torch.randn(len(real), settings.latent_dim, device=run.device)
        if step < adversarial_steps:
            if model.vae:
                rate = settings.learning_rate * min(1.0, 3 * (1 - step / adversarial_steps))
                for group in [*optimizer_g.param_groups, *optimizer_d.param_groups]:
                    group["lr"] = rate
            run.log(**_adversarial_step(model, critic, optimizer_g, optimizer_d, real, z, step))
            average.update_parameters(model.layers)
        else:
            done = (step - adversarial_steps) / (run.schedule.num_steps - adversarial_steps)
            optimizer_e.param_groups[0]["lr"] = settings.encoder_learning_rate * (1 - done)
            run.log(**_encoder_step(kept, critic, optimizer_e, real, z))
    warnings = [] if run.step > adversarial_steps else [UNTRAINED_ENCODER]
    return Trained(architecture, kept.state_dict(), before, warnings)


def _initial(settings: DcganSettings, images: Tensor, run: Run) -> tuple[Dcgan, dict[str, Any], dict[str, Any]]:
    """Returns the model to train, its architecture, and how its autoencoder was trained.

    A model that starts from one of latents keeps its autoencoder.
    """
    architecture: dict[str, Any] = {
        "name": "dcgan",
        "image_size": images.shape[-1],
        "channels": images.shape[1],
        "latent_dim": settings.latent_dim,
        "base_channels": settings.base_channels,
        "encoder_channels": settings.encoder_channels,
    }
    vae, before = None, {}
    if run.start and "autoencoder" in run.start[1].architecture:
        architecture["autoencoder"] = run.start[1].architecture["autoencoder"]
    elif settings.autoencoder:
        vae, card = found_kl(run, settings.autoencoder)
        architecture["autoencoder"], before["autoencoder"] = architecture_of(card), card.training
    model = initial_model(Dcgan, architecture, run)
    if vae:
        model.vae.load_state_dict(vae.state_dict())
    if model.vae:
        model.vae.requires_grad_(False)
    return model, architecture, before


def _adversarial_step(
    model: Dcgan, critic: nn.Sequential, optimizer_g: Adam, optimizer_d: Adam, real: Tensor, z: Tensor, step: int
) -> dict[str, Tensor]:
    """Updates the discriminator and the generator once; returns their losses.

    The discriminator of latents has no batch normalization; a penalty of its gradients (R1) takes its place.
    """
    model.train()
    # 1. The discriminator, on one batch of each kind at a time (section 3).
    with autocast(real.device):
        fake = model.generate(z)
        on_real, on_fake = critic(real).float(), critic(fake.detach()).float()
        loss_d = discriminator_loss(on_real, on_fake, 1.0 if model.vae else 0.9)
    optimizer_d.zero_grad()
    loss_d.backward()
    if model.vae and step % PENALTY_EVERY == 0:
        (PENALTY_EVERY * PENALTY_WEIGHT * gradient_penalty(critic, real[::2])).backward()
    optimizer_d.step()
    # 2. The generator.
    with autocast(real.device):
        loss_g = generator_loss(critic(fake).float())
    optimizer_g.zero_grad()
    loss_g.backward()
    optimizer_g.step()
    return {"discriminator_loss": loss_d, "generator_loss": loss_g}


def _encoder_step(kept: Dcgan, critic: nn.Sequential, optimizer: Adam, real: Tensor, z: Tensor) -> dict[str, Tensor]:
    """Updates the encoder once, everything else frozen; returns its losses."""
    kept.layers.eval().requires_grad_(False)
    critic.eval().requires_grad_(False)
    kept.encoder.train()
    with torch.no_grad():
        fake = kept.generate(z)
    with autocast(real.device):
        of_fake, of_real = kept.encoder(torch.cat([fake, real])).float().split(len(real))
        reconstruction = kept.generate(of_real)
        seen = critic[:-2](torch.cat([reconstruction, real])).float()
    latent = F.mse_loss(of_fake, z)
    pixels = F.l1_loss(reconstruction, real)
    features = F.mse_loss(*seen.split(len(real))) / seen[len(real) :].square().mean()
    # Toward the prior: without this, |z|^2 drifts from latent_dim to values the generator was not trained on.
    prior = (of_real.square().mean(1) - 1).square().mean()
    loss = latent + (LATENTS_WEIGHT if kept.vae else PIXELS_WEIGHT) * pixels + features + 0.1 * prior
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"latent_loss": latent, "pixel_loss": pixels, "feature_loss": features}


RECIPE = Recipe(
    name="dcgan",
    task="generation",
    title="DCGAN with encoder",
    settings=DcganSettings,
    schedule=Schedule(num_steps=5000, batch_size=64),
    train=train_dcgan,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
