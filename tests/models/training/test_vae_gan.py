import json
from pathlib import Path

import torch

from models.build import load_model
from models.catalogue import Card
from models.generative.vae import Vae
from models.training.recipe import command
from models.training.vae_gan import RECIPE, Discriminator, likelihood_loss

TINY = ["--data", "flowers", "--gray", "--limit", "8", "--num-steps", "2", "--batch-size", "4"]
SMALL = ["--latent-dim", "4", "--base-channels", "8"]


def test_a_vae_is_trained_alone_and_then_against_a_discriminator(tmp_path: Path) -> None:
    out = tmp_path / "trained"
    against = ["--start", str(out / "first"), "--adversarial-weight", "0.5"]
    for name, more in (("first", []), ("second", against)):
        assert command(RECIPE, [*TINY, *SMALL, "--id", name, "--out", str(out), *more]) == 0
    first, second = (Card(**json.loads((out / name / "card.json").read_text())) for name in ("first", "second"))
    assert first.architecture == second.architecture and first.files != second.files
    assert second.training["parts"]["start"]["adversarial_weight"] == 0
    assert {"pixel_loss", "feature_loss", "discriminator_loss"} <= second.training["last_losses"].keys()
    model = load_model(second, tmp_path)
    assert isinstance(model, Vae) and model.decode(torch.zeros(1, 4)).shape == (1, 1, 128, 128)


def test_edges_count_beside_pixels() -> None:
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    level = images + noise.square().mean().sqrt() + 1e-3 * noise  # as far from the images, but with their edges
    assert likelihood_loss(images + noise, images).mean() > likelihood_loss(level, images).mean() + 1000


def test_scores_and_features_of_the_discriminator() -> None:
    features, scores = Discriminator(1, 8)(torch.rand(2, 1, 128, 128))
    assert scores.shape == (2, 1, 4, 4) and [part.shape[-1] for part in features] == [32, 16, 8]
