"""Trains a VAE: `python -m models.training.vae --data fashion-mnist --id vae-fashion-mnist-2 --latent-dim 2`."""

from dataclasses import dataclass, field

import torch

from models.data.dataset import Dataset
from models.generative.vae import Vae, bernoulli_loss, gaussian_loss, kl_divergence, whiten
from models.tensors import autocast
from models.training.recipe import Recipe, Trained, command, initial_model
from models.training.run import Run, Schedule


@dataclass(frozen=True)
class VaeSettings:
    """Hyperparameters of a VAE."""

    latent_dim: int = field(default=2, metadata={"help": "values of z"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of Adam, falling to 0 along a cosine"})
    beta: float = field(default=1.0, metadata={"help": "weight of the KL divergence; 1 is the ELBO itself"})


def train_vae(dataset: Dataset, settings: VaeSettings, run: Run) -> Trained:
    """Maximizes the ELBO: perceptrons and a Bernoulli loss for gray images, convolutions and a Gaussian one for color.

    At the end z is whitened, so that draws from the prior decode to images, see `whiten`.
    """
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)  # (n, channels, h, w)
    size, channels = images.shape[-1], images.shape[1]
    name, loss = ("mlp-vae", bernoulli_loss) if channels == 1 else ("conv-vae", gaussian_loss)
    architecture = {"name": name, "image_size": size, "channels": channels, "latent_dim": settings.latent_dim}
    torch.manual_seed(run.schedule.seed)
    model = initial_model(Vae, architecture, run)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    fixed = torch.randn(64, settings.latent_dim, device=run.device)

    def sample() -> torch.Tensor:
        with torch.inference_mode():
            return model.decode(fixed)

    for _ in run.steps(sample, model=model, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        (real,) = run.batch(images)
        real = real.float() / 255
        with autocast(run.device):
            mu, log_var = model.posterior(real)
            z = mu + (0.5 * log_var).exp() * torch.randn_like(mu)  # eq. 10
            decoded = model.decode(z)
        reconstruction_loss, kl = loss(decoded, real).mean(), kl_divergence(mu, log_var).mean()
        total = reconstruction_loss + settings.beta * kl
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        run.log(reconstruction_loss=reconstruction_loss, kl_divergence=kl)
    whiten(model, images)
    return Trained(architecture, model.state_dict())


RECIPE = Recipe(
    name="vae",
    task="generation",
    title="Variational autoencoder",
    settings=VaeSettings,
    schedule=Schedule(num_steps=8000, batch_size=128),
    train=train_vae,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
