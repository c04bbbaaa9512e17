"""Trains a GAN of perceptrons: `python -m models.training.gan --data digits --id gan-digits-4 --latent-dim 4`."""

from dataclasses import dataclass, field

import torch

from models.data.dataset import Dataset
from models.errors import DataError
from models.generative.gan import Generator, discriminator_loss, generator_loss, mlp_discriminator
from models.tensors import autocast
from models.training.recipe import Recipe, Trained, command, initial_model
from models.training.run import Run, Schedule, State, averaged


@dataclass(frozen=True)
class GanSettings:
    """Hyperparameters of a GAN."""

    latent_dim: int = field(default=4, metadata={"help": "values of z"})
    learning_rate: float = field(default=2e-4, metadata={"help": "of both Adams"})
    ema_decay: float = field(
        default=0.998, metadata={"help": "of the moving average of the generator, which is stored"}
    )


def train_gan(dataset: Dataset, settings: GanSettings, run: Run) -> Trained:
    """Alternates steps of discriminator and generator (Goodfellow et al. 2014, algorithm 1); gray images only."""
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)  # (n, 1, h, w)
    size, channels = images.shape[-1], images.shape[1]
    if channels != 1:
        raise DataError(f"recipe gan takes gray images, not {channels} channels; recipe dcgan takes color")
    architecture = {"name": "mlp-gan", "image_size": size, "channels": channels, "latent_dim": settings.latent_dim}
    torch.manual_seed(run.schedule.seed)
    generator = initial_model(Generator, architecture, run)
    discriminator = mlp_discriminator(size, channels).to(run.device)
    average, kept = averaged(generator, settings.ema_decay)
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999), fused=True)
    optimizer_d = torch.optim.Adam(
        discriminator.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999), fused=True
    )
    fixed = torch.randn(64, settings.latent_dim, device=run.device)

    def sample() -> torch.Tensor:
        with torch.inference_mode():
            return kept.eval().decode(fixed)

    state: dict[str, State] = {"generator": generator, "discriminator": discriminator, "average": average}
    for _ in run.steps(sample, **state, optimizer_g=optimizer_g, optimizer_d=optimizer_d):
        (real,) = run.batch(images)
        real = real.float() / 255
        z = torch.randn(len(real), settings.latent_dim, device=run.device)

        # 1. The discriminator.
        with autocast(run.device):
            fake = generator.decode(z)
            loss_d = discriminator_loss(discriminator(real).float(), discriminator(fake.detach()).float())
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()

        # 2. The generator.
        with autocast(run.device):
            loss_g = generator_loss(discriminator(fake).float())
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()
        average.update_parameters(generator)
        run.log(discriminator_loss=loss_d, generator_loss=loss_g)
    return Trained(architecture, kept.state_dict())


RECIPE = Recipe(
    name="gan",
    task="generation",
    title="Generative adversarial network",
    settings=GanSettings,
    schedule=Schedule(num_steps=12000, batch_size=128, sample_every=1000, checkpoint_every=1000),
    train=train_gan,
    image_size=28,
    channels=1,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
