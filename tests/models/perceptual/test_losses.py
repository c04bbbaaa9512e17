import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from models.perceptual.losses import (
    STYLE_LOSSES,
    content_loss,
    gram_matrix,
    positions,
    sorted_loss,
    style_loss,
    style_targets,
    total_variation,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loss_of(name: str, x: Tensor, *styles: Tensor, shares: tuple[float, ...] = (1.0,)) -> Tensor:
    """One loss of positions against styles."""
    return STYLE_LOSSES[name].distance(x, STYLE_LOSSES[name].target(list(zip(styles, shares, strict=True)), 0))


def channel_scale(style: np.ndarray) -> np.ndarray:
    energy = (style**2).mean(0)
    scale: np.ndarray = 1 / np.sqrt(energy + energy.mean() / 10)
    return scale


def test_positions_are_a_view_where_channels_are_last() -> None:
    features = random(2, 3, 4, 5).to(memory_format=torch.channels_last)
    found = positions(features)
    assert found.shape == (2, 20, 3) and found.data_ptr() == features.data_ptr()
    torch.testing.assert_close(found[1, 7], features[1, :, 1, 2])
    torch.testing.assert_close(positions(features, torch.tensor([7, 0])), found[:, [7, 0]])


def test_gram_of_two_channels_by_hand() -> None:
    x = torch.tensor([[[1.0, 3.0], [2.0, 0.0]]])  # channels (1, 2) and (3, 0) at two positions
    torch.testing.assert_close(gram_matrix(x), torch.tensor([[[2.5, 1.5], [1.5, 4.5]]]))


def test_gram_equals_its_sum_in_float64() -> None:
    x = random(2, 12, 5)
    np.testing.assert_allclose(gram_matrix(x).numpy(), np.einsum("nmc,nmd->ncd", x, x) / 12, rtol=1e-12)


def test_gram_is_symmetric_and_positive_semidefinite() -> None:
    gram = gram_matrix(random(1, 9, 8))
    torch.testing.assert_close(gram, gram.mT)
    assert torch.linalg.eigvalsh(gram).min() > -1e-12


@pytest.mark.parametrize("m", [100, 4096, 10_000])
def test_gram_of_bfloat16_is_summed_in_float32(m: int) -> None:
    """Ten thousand ones: a bfloat16 sum stops at 256."""
    x = torch.ones(2, m, 3, dtype=torch.bfloat16)
    gram = gram_matrix(x)
    assert gram.dtype == torch.float32
    torch.testing.assert_close(gram, torch.ones(2, 3, 3))


def test_gram_of_bfloat16_is_close_to_float64() -> None:
    x = random(1, 10_000, 16).bfloat16()
    exact = gram_matrix(x.double())
    assert ((gram_matrix(x) - exact).norm() / exact.norm()) < 2e-3


def test_content_loss_by_hand() -> None:
    target = torch.tensor([[[[3.0, 4.0]]]])
    assert content_loss(target, target) == 0
    torch.testing.assert_close(content_loss(torch.zeros(1, 1, 1, 2), target), torch.tensor(1.0))
    torch.testing.assert_close(content_loss(torch.tensor([[[[3.0, 3.0]]]]), target), torch.tensor(1 / 25))


# --- each loss ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_a_match_is_zero_and_an_empty_image_one(name: str) -> None:
    x = random(1, 50, 6)
    assert abs(loss_of(name, x, x).item()) < 1e-9
    assert loss_of(name, torch.zeros_like(x), x).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_a_loss_knows_neither_places_nor_how_often_a_image_is_repeated(name: str) -> None:
    x, style = random(1, 40, 5), random(1, 30, 5, seed=1)
    shuffled = x[:, torch.randperm(40, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(loss_of(name, shuffled, style), loss_of(name, x, style))
    # Losses by quantiles interpolate between sorted values, which lie closer when each is there twice.
    torch.testing.assert_close(
        loss_of(name, x, style), loss_of(name, x, style.repeat_interleave(2, 1)), rtol=0.05, atol=0
    )


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_a_loss_does_not_depend_on_the_scale_of_the_network(name: str) -> None:
    x, style = random(1, 16, 3), random(1, 16, 3, seed=1)
    torch.testing.assert_close(loss_of(name, 100 * x, 100 * style), loss_of(name, x, style), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_a_style_without_energy_gives_a_finite_loss(name: str) -> None:
    silent = torch.zeros(1, 9, 2)
    assert loss_of(name, silent, silent) == 0
    assert torch.isfinite(loss_of(name, silent + 1, silent))


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_the_gradient_is_right(name: str) -> None:
    x, style = random(2, 12, 3).requires_grad_(), random(1, 9, 3, seed=1)
    target = STYLE_LOSSES[name].target([(style, 1.0)], 0)
    assert torch.autograd.gradcheck(lambda x: STYLE_LOSSES[name].distance(x, target), x)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_half_precision_is_close(name: str) -> None:
    x, style = random(1, 5000, 16), random(1, 6000, 16, seed=1) ** 2
    exact = loss_of(name, x, style)
    # bfloat16 keeps 8 bits: 0.4 % of each value, which a difference of near values multiplies.
    assert loss_of(name, x.bfloat16(), style.bfloat16()).item() == pytest.approx(exact.item(), rel=0.02)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_several_images_have_the_mean_of_their_losses(name: str) -> None:
    x, style = random(3, 20, 4), random(1, 20, 4, seed=1)
    alone = torch.stack([loss_of(name, image[None], style) for image in x])
    torch.testing.assert_close(loss_of(name, x, style), alone.mean())


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_mixed_styles_are_the_positions_of_both(name: str) -> None:
    """Shares of 1 and 3 are an image of one part of the first style and three of the second."""
    a, b, x = random(1, 300, 3), random(1, 300, 3, seed=1) + 1, random(1, 300, 3, seed=2)
    mixed = loss_of(name, x, a, b, shares=(0.25, 0.75))
    # Losses by quantiles interpolate between the 300 sorted values of each style.
    torch.testing.assert_close(mixed, loss_of(name, x, torch.cat([a, b, b, b], 1)), rtol=0.01, atol=0)


def test_gram_loss_of_one_channel_by_hand() -> None:
    """G = 1 against A = 4: whatever the channel's scale, ((1 - 4) / 4)²."""
    x, style = torch.ones(1, 4, 1), torch.full((1, 4, 1), 2.0)
    torch.testing.assert_close(loss_of("gram", x, style), torch.tensor(9 / 16))


def test_gram_loss_in_float64() -> None:
    x, style = random(1, 16, 3), random(1, 16, 3, seed=1)
    a, g = (gram_matrix(y)[0].numpy() for y in (style, x))
    d = np.diag(channel_scale(style[0].numpy()))
    expected = np.square(d @ (g - a) @ d).sum() / np.square(d @ a @ d).sum()
    np.testing.assert_allclose(loss_of("gram", x, style).item(), expected, rtol=1e-6)


def test_mean_std_loss_of_one_channel_by_hand() -> None:
    """Values 0, 2 (mean 1, deviation 1) against 1, 5 (mean 3, deviation 2): (2² + 1²) / (3² + 2²)."""
    x, style = torch.tensor([[[0.0], [2.0]]]), torch.tensor([[[1.0], [5.0]]])
    torch.testing.assert_close(loss_of("mean-std", x, style), torch.tensor(5 / 13))


def test_mean_std_loss_in_float64() -> None:
    x, style = random(1, 16, 3).numpy(), random(1, 20, 3, seed=1).numpy()
    d = channel_scale(style[0])
    apart = (d * (x[0].mean(0) - style[0].mean(0))) ** 2 + (d * (x[0].std(0) - style[0].std(0))) ** 2
    energy = (d * style[0].mean(0)) ** 2 + (d * style[0].std(0)) ** 2
    found = loss_of("mean-std", torch.from_numpy(x), torch.from_numpy(style))
    np.testing.assert_allclose(found.item(), apart.sum() / energy.sum(), rtol=1e-6)


def test_covariance_loss_equals_scipys_matrix_roots() -> None:
    x, style = random(1, 30, 4), random(1, 20, 4, seed=1)
    d = channel_scale(style[0].numpy())
    (m1, c1), (m2, c2) = (
        ((y[0].numpy() * d).mean(0), np.cov(y[0].numpy() * d, rowvar=False, bias=True)) for y in (x, style)
    )
    root = scipy.linalg.sqrtm(c2)
    distance = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(root @ c1 @ root).real)
    expected = distance / ((m2**2).sum() + np.trace(c2))
    np.testing.assert_allclose(loss_of("covariance", x, style).item(), expected, rtol=1e-6)


def test_covariance_loss_of_fewer_positions_than_channels_is_finite() -> None:
    x, style = random(1, 5, 12).requires_grad_(), random(1, 7, 12, seed=1)
    loss = loss_of("covariance", x, style)
    assert 0 < loss.item() < 2
    (gradient,) = torch.autograd.grad(loss, x)
    assert torch.isfinite(gradient).all()


def test_histogram_loss_equals_sorting_each_channel() -> None:
    x, style = random(1, 25, 3), random(1, 25, 3, seed=1) ** 2
    a, b = (np.sort(y[0].numpy(), axis=0) * channel_scale(style[0].numpy()) for y in (x, style))
    expected = ((a - b) ** 2).mean() / (b**2).mean()
    np.testing.assert_allclose(loss_of("histogram", x, style).item(), expected, rtol=1e-6)


def test_sorted_loss_between_sizes_by_hand() -> None:
    """Quantiles of 0, 4 at the eighths 1, 3, 5, 7 are 0, 1, 3, 4."""
    quantiles, x = torch.tensor([[[0.0, 4.0]]]), torch.tensor([[[3.0], [0.0], [4.0], [1.0]]])
    assert sorted_loss(x, (quantiles, torch.ones(1, 1))) == 0


def test_sliced_wasserstein_sees_what_no_channel_alone_shows() -> None:
    """Equal and opposite channels have one histogram each, and another sum."""
    values = random(1, 200, 1)
    equal, opposite = torch.cat([values, values], 2), torch.cat([values, 1 - values], 2)
    level = torch.cat([opposite, 1 - opposite], 1), torch.cat([equal, 1 - equal], 1)
    assert loss_of("histogram", *level).item() < 1e-3
    assert loss_of("sliced-wasserstein", *level).item() > 0.01


def test_a_checkerboard_has_the_statistics_of_any_board_of_as_many_fields() -> None:
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2).double()
    halves = (torch.arange(8)[:, None].expand(8, 8) < 4).double()
    for name in STYLE_LOSSES:
        x, style = (positions(torch.stack([y, 1 - y])[None]) for y in (halves, board))
        assert loss_of(name, x, style).item() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(gram_matrix(style)[0], [[0.5, 0], [0, 0.5]])


# --- losses together ------------------------------------------------------------------------------------------------


def test_layers_count_alike_and_losses_by_their_weights() -> None:
    x, style = (
        {"a": random(1, 9, 2), "b": random(1, 9, 3)},
        {"a": random(1, 9, 2, seed=1), "b": random(1, 9, 3, seed=2)},
    )
    weights = {"gram": 3.0, "histogram": 1.0}
    expected = sum(0.75 * loss_of("gram", x[k], style[k]) + 0.25 * loss_of("histogram", x[k], style[k]) for k in x) / 2
    torch.testing.assert_close(style_loss(x | {"c": random(1, 2, 2)}, style_targets([(style, 7.0)], weights)), expected)


def test_shares_are_made_to_add_up_to_one() -> None:
    a, b, x = ({"a": random(1, 9, 2, seed=k)} for k in range(3))
    found = style_loss(x, style_targets([(a, 2.0), (b, 6.0)], {"gram": 1.0}))
    torch.testing.assert_close(found, loss_of("gram", x["a"], a["a"], b["a"], shares=(0.25, 0.75)))


# --- pixels ---------------------------------------------------------------------------------------------------------


def test_total_variation_of_a_checkerboard_is_two() -> None:
    board = (torch.arange(6)[:, None] + torch.arange(8)) % 2
    assert total_variation(board[None, None].double()) == 2


def test_total_variation_of_a_ramp_and_of_a_flat_image() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 4, 5)  # one step of 1 across, none down
    assert total_variation(ramp) == 1
    assert total_variation(torch.full((1, 3, 4, 5), 0.7)) == 0


def test_gradients() -> None:
    features, target = random(1, 3, 3, 4), random(1, 3, 3, 4, seed=1)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: gram_matrix(positions(f)), features)
    assert torch.autograd.gradcheck(lambda f: content_loss(f, target), features)
    assert torch.autograd.gradcheck(total_variation, features)
