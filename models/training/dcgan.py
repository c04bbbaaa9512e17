"""Trains a DCGAN and then its encoder: `python -m models.training.dcgan --data avatars --id dcgan-avatars`."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from models.data.dataset import Dataset
from models.generative.dcgan import Dcgan, discriminator
from models.generative.gan import discriminator_loss, generator_loss
from models.tensors import autocast, on_device
from models.training.recipe import Recipe, Trained, command, initial_model
from models.training.run import Run, Schedule, State, averaged

UNTRAINED_ENCODER = {
    "code": "encoder_untrained",
    "message": "The training ended before the steps of its encoder: samples can be used, reconstructions cannot.",
}


@dataclass(frozen=True)
class DcganSettings:
    """Hyperparameters of a DCGAN and its encoder."""

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
    """Trains a GAN as Radford et al., then an encoder for the finished generator.

    The encoder learns the z of generated images, and to reconstruct real images in the discriminator's features (Larsen
    et al. 2016, "Autoencoding beyond pixels using a learned similarity metric").
    """
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    architecture = {
        "name": "dcgan",
        "image_size": images.shape[-1],
        "channels": images.shape[1],
        "latent_dim": settings.latent_dim,
        "base_channels": settings.base_channels,
        "encoder_channels": settings.encoder_channels,
    }
    torch.manual_seed(run.schedule.seed)
    model = initial_model(Dcgan, architecture, run)
    critic = on_device(discriminator(images.shape[1], settings.base_channels), run.device)
    average, layers = averaged(model.layers, settings.ema_decay)
    kept = Dcgan(layers, settings.latent_dim, model.encoder)
    betas = (0.5, 0.999)
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
        (real,) = run.batch(images)
        real = real.float() / 255
        z = torch.randn(len(real), settings.latent_dim, device=run.device)

        if step < adversarial_steps:
            model.train()
            with autocast(run.device):
                fake = model.decode(z)
                # 1. The discriminator, on one batch of each kind at a time (section 3).
                loss_d = discriminator_loss(critic(real).float(), critic(fake.detach()).float())
            optimizer_d.zero_grad()
            loss_d.backward()
            optimizer_d.step()
            # 2. The generator.
            with autocast(run.device):
                loss_g = generator_loss(critic(fake).float())
            optimizer_g.zero_grad()
            loss_g.backward()
            optimizer_g.step()
            average.update_parameters(model.layers)
            run.log(discriminator_loss=loss_d, generator_loss=loss_g)
        else:
            # 3. The encoder; everything else is frozen.
            kept.layers.eval().requires_grad_(False)
            critic.eval().requires_grad_(False)
            model.encoder.train()
            done = (step - adversarial_steps) / (run.schedule.num_steps - adversarial_steps)
            optimizer_e.param_groups[0]["lr"] = settings.encoder_learning_rate * (1 - done)
            with torch.no_grad():
                fake = kept.decode(z)
            with autocast(run.device):
                of_fake, of_real = kept.encode(torch.cat([fake, real])).split(len(real))
                reconstruction = kept.decode(of_real)
                seen = critic[:-2](torch.cat([reconstruction, real])).float()
            latent = F.mse_loss(of_fake, z)
            pixels = F.l1_loss(reconstruction, real)
            features = F.mse_loss(*seen.split(len(real))) / seen[len(real) :].square().mean()
            # Toward the prior: without this, |z|^2 drifts from latent_dim to values the generator was not trained on.
            prior = (of_real.square().mean(1) - 1).square().mean()
            loss_e = latent + 10 * pixels + features + 0.1 * prior
            optimizer_e.zero_grad()
            loss_e.backward()
            optimizer_e.step()
            run.log(latent_loss=latent, pixel_loss=pixels, feature_loss=features)
    warnings = [] if run.step > adversarial_steps else [UNTRAINED_ENCODER]
    return Trained(architecture, kept.state_dict(), warnings=warnings)


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
