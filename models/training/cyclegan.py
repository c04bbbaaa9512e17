"""Trains a CycleGAN: `python -m models.training.cyclegan --data avatars --id cyclegan-glasses --attribute glasses`."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.data.dataset import Dataset
from models.data.pairs import sides_of
from models.errors import DataError
from models.generative.cyclegan import CycleGan, patch_discriminator, pooled
from models.tensors import autocast, on_device
from models.training.recipe import Recipe, Trained, command, initial_model
from models.training.run import Run, Schedule, State, averaged


@dataclass(frozen=True)
class CycleganSettings:
    """Hyperparameters of a CycleGAN; kind a lacks the attribute, kind b has it, or each is one of two classes."""

    attribute: str | None = field(
        default=None, metadata={"help": "an attribute or class of the set: kind b; of two classes the second if absent"}
    )
    matched: tuple[str, ...] = field(default=(), metadata={"help": "attributes made equally frequent on both sides"})
    base_channels: int = field(default=24, metadata={"help": "of the generators' first layer"})
    n_blocks: int = field(default=4, metadata={"help": "residual blocks of each generator"})
    discriminator_layers: int = field(
        default=2, metadata={"help": "that halve: with 2 a patch has 26 pixels, with 3 54"}
    )
    learning_rate: float = field(default=4e-4, metadata={"help": "of both Adams, falling to 0 over the second half"})
    lambda_cycle: float = field(default=2.0, metadata={"help": "weight of the cycle-consistency loss"})
    cycle_noise: float = field(
        default=0.1,
        metadata={"help": "standard deviation of the noise added to a translation before it is translated back"},
    )
    lambda_identity: float = field(default=1.0, metadata={"help": "weight of the identity loss"})
    pool_size: int = field(
        default=50, metadata={"help": "earlier translations that the discriminators are shown again"}
    )
    ema_decay: float = field(
        default=0.995, metadata={"help": "of the moving average of the generators, which is stored"}
    )


def tone(images: Tensor) -> Tensor:
    """Maps images in [-1, 1] to a logarithmic scale in [-1, 1], linear below the range.

    A dark frame on dark skin then differs as much as one on pale skin, as it does to the eye; on a linear scale its
    difference is far smaller.
    """
    light = 5 * (images + 1)
    return 2 * torch.where(light > 0, torch.log1p(light.clamp(min=0)), light) / math.log(11) - 1


def train_cyclegan(dataset: Dataset, settings: CycleganSettings, run: Run) -> Trained:
    """Trains with least-squares adversarial, cycle-consistency and identity losses (Zhu et al. 2017, eqs. 1 to 3).

    See its section 5.2. The first two losses compare the `tone` of images.
    """
    if settings.pool_size < run.schedule.batch_size:
        raise DataError(f"pool_size must be at least batch_size, which is {run.schedule.batch_size}")
    without, with_, kinds = sides_of(dataset, settings.attribute, settings.matched)
    images_a, images_b = (torch.from_numpy(side.images).permute(0, 3, 1, 2).to(run.device) for side in (without, with_))
    architecture = {
        "name": "cyclegan",
        "image_size": images_a.shape[-1],
        "channels": images_a.shape[1],
        "base_channels": settings.base_channels,
        "n_blocks": settings.n_blocks,
        "kinds": list(kinds),
    }
    torch.manual_seed(run.schedule.seed)
    model = initial_model(CycleGan, architecture, run, free=("kinds",))
    critics = torch.nn.ModuleList(
        patch_discriminator(images_a.shape[1], 2 * settings.base_channels, settings.discriminator_layers) for _ in "ab"
    )
    critics = on_device(critics, run.device)
    critic_a, critic_b = critics
    average, kept = averaged(model, settings.ema_decay)
    optimizer_g = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(critics.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999))
    pool: dict[str, Tensor] = {}
    n_shown = min(16, len(images_a), len(images_b))
    shown_a, shown_b = images_a[:n_shown].float() / 255, images_b[:n_shown].float() / 255

    def sample() -> Tensor:
        with torch.inference_mode():
            fake_b = kept.translate(shown_a, "a-to-b")
            fake_a = kept.translate(shown_b, "b-to-a")
        return torch.stack([shown_a, fake_b, shown_b, fake_a], 1).flatten(0, 1)  # each image, then its translation

    state: dict[str, State] = {"model": model, "critics": critics, "average": average, "pool": pool}
    for step in run.steps(sample, **state, optimizer_g=optimizer_g, optimizer_d=optimizer_d):
        remaining = min(1.0, 2 * (1 - step / run.schedule.num_steps))
        for optimizer in (optimizer_g, optimizer_d):
            optimizer.param_groups[0]["lr"] = settings.learning_rate * remaining
        (real_a,), (real_b,) = run.batch(images_a), run.batch(images_b)
        real_a, real_b = real_a.float() / 127.5 - 1, real_b.float() / 127.5 - 1

        # 1. The generators.
        with autocast(run.device):
            fake_b, same_b = model.a_to_b(torch.cat([real_a, real_b])).chunk(2)
            fake_a, same_a = model.b_to_a(torch.cat([real_b, real_a])).chunk(2)
            # Noise masks the faint signal in which a generator encodes what it removed (Chu et al. 2017; the remedy
            # is that of Bashkirova et al. 2019).
            noisy_a, noisy_b = (fake + settings.cycle_noise * torch.randn_like(fake) for fake in (fake_a, fake_b))
            rec_a, rec_b = model.b_to_a(noisy_b), model.a_to_b(noisy_a)
            seen_a, seen_b = critic_a(tone(fake_a)), critic_b(tone(fake_b))
        adversarial = (seen_a.float() - 1).square().mean() + (seen_b.float() - 1).square().mean()
        cycle = (tone(rec_a) - tone(real_a)).abs().mean() + (tone(rec_b) - tone(real_b)).abs().mean()
        identity = (same_a - real_a).abs().mean() + (same_b - real_b).abs().mean()
        total = adversarial + settings.lambda_cycle * cycle + settings.lambda_identity * identity
        optimizer_g.zero_grad()
        total.backward()
        optimizer_g.step()
        average.update_parameters(model)

        # 2. The discriminators, on translations of this step and of earlier ones.
        old_a = pooled(pool, "a", fake_a.detach(), settings.pool_size)
        old_b = pooled(pool, "b", fake_b.detach(), settings.pool_size)
        with autocast(run.device):
            scores_a = critic_a(tone(torch.cat([real_a, old_a])))
            scores_b = critic_b(tone(torch.cat([real_b, old_b])))
        of_real, of_fake = torch.cat([scores_a, scores_b], dim=1).float().chunk(2)
        loss_d = (of_real - 1).square().mean() + of_fake.square().mean()
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()
        run.log(generator_loss=adversarial, discriminator_loss=loss_d, cycle_loss=cycle, identity_loss=identity)
    return Trained(architecture, kept.state_dict())


RECIPE = Recipe(
    name="cyclegan",
    task="translation",
    title="CycleGAN",
    settings=CycleganSettings,
    schedule=Schedule(num_steps=3000, batch_size=8, sample_every=250, checkpoint_every=250),
    train=train_cyclegan,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
