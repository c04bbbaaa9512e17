"""Trains a convolutional VAE, first alone and then against a discriminator.

    python -m models.training.vae_gan --data flowers --gray --id first
    python -m models.training.vae_gan --data flowers --gray --id vae-flowers --start data/training/first \
        --adversarial-weight 0.5

Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric", in two runs.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.data.dataset import Dataset
from models.generative.vae import Vae, gaussian_loss, kl_divergence, whiten
from models.tensors import autocast, on_device
from models.training.recipe import Recipe, Trained, command, initial_model
from models.training.run import Run, Schedule, State, averaged

BETAS, EMA_DECAY = (0.5, 0.99), 0.998


@dataclass(frozen=True)
class VaeGanSettings:
    """Hyperparameters of both runs."""

    latent_dim: int = field(default=64, metadata={"help": "values of z"})
    base_channels: int = field(default=32, metadata={"help": "of the first layer, a multiple of 8"})
    patch_size: int = field(default=4, metadata={"help": "side in pixels of the patches of the first and last layer"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of Adam, falling to 0 along a cosine"})
    beta: float = field(default=1.0, metadata={"help": "weight of the KL divergence"})
    adversarial_weight: float = field(
        default=0.0, metadata={"help": "of the discriminator's gradient; 0 trains without one"}
    )


def train_vae_gan(dataset: Dataset, settings: VaeGanSettings, run: Run) -> Trained:
    """Trains a VAE, with an adversarial weight also against a discriminator; whitens z at the end."""
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)  # (n, channels, h, w)
    architecture = {
        "name": "conv-vae",
        "image_size": images.shape[-1],
        "channels": images.shape[1],
        "latent_dim": settings.latent_dim,
        "base_channels": settings.base_channels,
        "patch_size": settings.patch_size,
    }
    torch.manual_seed(run.schedule.seed)
    model = initial_model(Vae, architecture, run)
    trained = (_against_discriminator if settings.adversarial_weight else _alone)(model, images, settings, run)
    whiten(trained, images)
    return Trained(architecture, trained.state_dict())


def _alone(model: Vae, images: Tensor, settings: VaeGanSettings, run: Run) -> Vae:
    """Maximizes the ELBO; the likelihood is that of pixels and of edges, see `likelihood_loss`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    for _ in run.steps(lambda: _shown(model, images), model=model, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        (real,) = run.batch(images)
        real = real.float() / 255
        with autocast(run.device):
            mu, log_var = model.posterior(real)
            decoded = model.decode(mu + (0.5 * log_var).exp() * torch.randn_like(mu))
        reconstruction_loss, kl = likelihood_loss(decoded, real).mean(), kl_divergence(mu, log_var).mean()
        optimizer.zero_grad()
        (reconstruction_loss + settings.beta * kl).backward()
        optimizer.step()
        run.log(reconstruction_loss=reconstruction_loss, kl_divergence=kl, squared_error=F.mse_loss(decoded, real))
    return model


def _against_discriminator(model: Vae, images: Tensor, settings: VaeGanSettings, run: Run) -> Vae:
    """Trains on reconstructions and on samples of the prior; returns the average of the VAE.

    The gradient of the discriminator at the decoded images is scaled to the weight times that of the reconstruction
    (Esser et al. 2021, "Taming transformers for high-resolution image synthesis", eq. 7).
    """
    critic = on_device(Discriminator(images.shape[1], settings.base_channels), run.device)
    average, kept = averaged(model, EMA_DECAY)
    optimizer_g = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=BETAS)
    optimizer_d = torch.optim.Adam(critic.parameters(), lr=settings.learning_rate, betas=BETAS)
    state: dict[str, State] = {"model": model, "critic": critic, "average": average}
    for _ in run.steps(lambda: _shown(kept, images), **state, optimizer_g=optimizer_g, optimizer_d=optimizer_d):
        run.set_learning_rate(optimizer_g, settings.learning_rate)
        (real,) = run.batch(images)
        real, n = real.float() / 255, len(real)
        with autocast(run.device):
            mu, log_var = model.posterior(real)
            z = torch.cat([mu + (0.5 * log_var).exp() * torch.randn_like(mu), torch.randn_like(mu)])
            fake = model.decode(z)  # n reconstructions and n samples
            seen = fake.detach().requires_grad_()
            # 1. One pass of the discriminator for both sides.
            features, logits = critic(torch.cat([seen, real]))
        on_fake, on_real = logits[: 2 * n], logits[2 * n :]
        feature_loss = torch.stack([(part[:n] - part[2 * n :].detach()).square().mean().log() for part in features])
        pixel_loss = likelihood_loss(seen[:n], real).mean() / real[0].numel()
        kl = kl_divergence(mu, log_var).mean()
        # 2. The VAE.
        (wanted,) = torch.autograd.grad(pixel_loss + feature_loss.mean(), seen, retain_graph=True)
        (sharper,) = torch.autograd.grad(-on_fake.mean(), seen, retain_graph=True)
        sharper *= settings.adversarial_weight * wanted.norm() / sharper[:n].norm().clamp_min(1e-12)
        optimizer_g.zero_grad()
        torch.autograd.backward([fake, kl], [wanted + sharper, torch.full_like(kl, settings.beta / real[0].numel())])
        optimizer_g.step()
        average.update_parameters(model)
        # 3. The discriminator, by the hinge loss (Miyato et al. 2018, eq. 16).
        discriminator_loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
        optimizer_d.zero_grad()
        discriminator_loss.backward()
        optimizer_d.step()
        losses = {"pixel_loss": pixel_loss, "feature_loss": feature_loss.mean(), "kl_divergence": kl}
        run.log(**losses, discriminator_loss=discriminator_loss)
    return kept


def likelihood_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """`gaussian_loss` of pixels plus those of the differences between neighbors (Mathieu et al. 2016, eq. 6), (n,).

    Errors of pixels alone are mostly those of backgrounds; petals are in the differences.
    """
    across, down = (gaussian_loss(decoded.diff(dim=dim), images.diff(dim=dim)) for dim in (3, 2))
    return gaussian_loss(decoded, images) + across + down


class Discriminator(nn.Module):
    """Scores overlapping parts of images in [0, 1]; spectral normalization (Miyato et al. 2018) bounds its slope."""

    def __init__(self, channels: int, base_channels: int) -> None:
        super().__init__()
        widths = [base_channels * factor for factor in (1, 2, 4, 4)]
        convs = [nn.Conv2d(channels, base_channels, 8, 4, 2)]  # a large stride at the images' own size, for speed
        convs += [nn.Conv2d(before, after, 4, 2, 1) for before, after in pairwise(widths)]
        self.stages = nn.ModuleList(nn.Sequential(spectral_norm(conv), nn.LeakyReLU(0.2)) for conv in convs)
        self.last = spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns the features of all stages but the last, and the scores (n, 1, 4, 4), high for real images."""
        x, features = images * 2 - 1, []
        for stage in self.stages:
            x = stage(x)
            features.append(x.float())
        return features[:-1], self.last(x).float()


@torch.inference_mode()
def _shown(model: Vae, images: Tensor) -> Tensor:
    """Images beside their reconstructions, and as many samples, (64, channels, h, w)."""
    real = images[:16].float() / 255
    z = torch.randn(32, model.latent_dim, generator=torch.Generator().manual_seed(0)).to(images.device)
    pairs = torch.stack([real, model.decode(model.encode(real))], dim=1).flatten(0, 1)
    return torch.cat([pairs, model.decode(z)])


RECIPE = Recipe(
    name="vae_gan",
    task="generation",
    title="Convolutional VAE",
    settings=VaeGanSettings,
    schedule=Schedule(num_steps=6000, batch_size=32),
    train=train_vae_gan,
    image_size=128,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
