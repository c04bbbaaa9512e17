import pytest
import torch
from torch import nn

from models.generative.cyclegan import CycleGan, Translator, patch_discriminator, pooled
from models.training.cyclegan import tone


def test_shapes_and_range() -> None:
    model = CycleGan(64, 3, base_channels=8, n_blocks=1, kinds=("plain", "glasses"))
    images = torch.rand(2, 3, 64, 64)
    for direction in ("a-to-b", "b-to-a"):
        translated = model.translate(images, direction)
        assert translated.shape == images.shape and translated.min() >= 0 and translated.max() <= 1
    assert patch_discriminator(3, 8)(images).shape == (2, 1, 16, 16)
    assert patch_discriminator(3, 8, n_layers=3)(images).shape == (2, 1, 8, 8)


@pytest.mark.parametrize(("n_layers", "width"), [(2, 26), (3, 54)])
def test_a_score_is_of_a_patch(n_layers: int, width: int) -> None:
    layers = [layer for layer in patch_discriminator(1, 8, n_layers) if not isinstance(layer, nn.InstanceNorm2d)]
    images = torch.rand(1, 1, 128, 128, requires_grad=True)
    nn.Sequential(*layers)(images)[0, 0, 7, 7].backward()
    assert images.grad is not None
    seen = images.grad[0, 0].abs().sum(0).nonzero()
    assert int(seen.max() - seen.min()) + 1 == width


def test_the_two_directions_are_two_networks() -> None:
    model = CycleGan(16, 3, base_channels=8, n_blocks=1)
    images = torch.rand(1, 3, 16, 16)
    assert not torch.equal(model.translate(images, "a-to-b"), model.translate(images, "b-to-a"))


def test_a_generator_that_paints_nothing_changes_nothing() -> None:
    translator = Translator(3, 8, 1)
    last = translator.layers[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    assert torch.equal(translator(images), images)


def test_the_pool_first_fills_then_shows_older_fakes() -> None:
    pool: dict[str, torch.Tensor] = {}
    for value in range(3):
        fakes = torch.full((2, 1, 1, 1), float(value))
        assert torch.equal(pooled(pool, "a", fakes, 5), fakes)
    assert sorted(pool["a"].flatten().tolist()) == [0, 0, 1, 1, 2]
    torch.manual_seed(0)
    shown = torch.cat([pooled(pool, "a", torch.full((2, 1, 1, 1), 9.0), 5) for _ in range(40)]).flatten()
    assert (shown < 9).float().mean() > 0.2 or 9.0 in pool["a"]  # half are older ones until all of those are gone
    assert len(pool["a"]) == 5 and (pool["a"] == 9).any()


def test_tone_keeps_black_and_white_and_widens_the_dark() -> None:
    black, white = tone(torch.tensor([-1.0, 1.0])).tolist()
    assert (black, white) == (-1.0, pytest.approx(1.0))
    dark, bright = tone(torch.tensor([[-0.8, -0.6], [0.6, 0.8]])).diff(dim=1).flatten().tolist()
    assert dark > 3 * bright > 0
    below = torch.tensor([-1.2], requires_grad=True)
    tone(below).sum().backward()
    assert below.grad is not None and below.grad.item() > 1, "values below the range still have a gradient"
