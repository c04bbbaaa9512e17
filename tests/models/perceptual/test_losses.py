import numpy as np
import torch
from torch import Tensor

from models.perceptual.losses import content_loss, gram_matrix, style_loss, total_variation


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gram_of_two_channels_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # channels (1, 2) and (3, 0), two positions
    torch.testing.assert_close(gram_matrix(features), torch.tensor([[[2.5, 1.5], [1.5, 4.5]]]))


def test_gram_equals_its_sum_in_float64() -> None:
    features = random(2, 5, 4, 3)
    expected = np.einsum("nchw,ndhw->ncd", features.numpy(), features.numpy()) / 12
    np.testing.assert_allclose(gram_matrix(features).numpy(), expected, rtol=1e-12)


def test_gram_is_symmetric_and_positive_semidefinite() -> None:
    gram = gram_matrix(random(1, 8, 3, 3))
    torch.testing.assert_close(gram, gram.mT)
    assert torch.linalg.eigvalsh(gram).min() > -1e-12


def test_gram_knows_no_positions() -> None:
    features = random(1, 4, 6, 5)
    shuffled = features.flatten(2)[..., torch.randperm(30, generator=torch.Generator().manual_seed(1))].view(1, 4, 6, 5)
    torch.testing.assert_close(gram_matrix(features), gram_matrix(shuffled))


def test_gram_is_the_same_for_a_picture_repeated() -> None:
    features = random(1, 4, 6, 5)
    torch.testing.assert_close(gram_matrix(features), gram_matrix(features.repeat(1, 1, 2, 3)))


def test_gram_of_bfloat16_is_summed_in_float32() -> None:
    """Ten thousand ones: a bfloat16 sum stops at 256."""
    gram = gram_matrix(torch.ones(1, 1, 100, 100, dtype=torch.bfloat16))
    assert gram.dtype == torch.float32
    assert gram.item() == 1


def test_content_loss_by_hand() -> None:
    target = torch.tensor([[[[3.0, 4.0]]]])
    assert content_loss(target, target) == 0
    torch.testing.assert_close(content_loss(torch.zeros(1, 1, 1, 2), target), torch.tensor(1.0))
    torch.testing.assert_close(content_loss(torch.tensor([[[[3.0, 3.0]]]]), target), torch.tensor(1 / 25))


def test_style_loss_of_one_channel_by_hand() -> None:
    """G = 1 against A = 4: whatever the channel's scale, ((1 - 4) / 4)²; the mean with a layer that matches is half."""
    features = {"a": torch.ones(1, 1, 2, 2), "b": torch.full((1, 1, 2, 2), 3.0)}
    grams = {"a": torch.full((1, 1, 1), 4.0), "b": torch.full((1, 1, 1), 9.0)}
    torch.testing.assert_close(style_loss(features, grams), torch.tensor(9 / 16 / 2))


def test_style_loss_in_float64() -> None:
    features, style = random(1, 3, 4, 4), random(1, 3, 4, 4, seed=1)
    a, g = gram_matrix(style)[0].numpy(), gram_matrix(features)[0].numpy()
    d = np.diag(1 / np.sqrt(np.diag(a) + np.diag(a).mean() / 10))
    expected = np.square(d @ (g - a) @ d).sum() / np.square(d @ a @ d).sum()
    found = style_loss({"x": features}, {"x": gram_matrix(style)})
    np.testing.assert_allclose(found.item(), expected, rtol=1e-6)


def test_losses_do_not_depend_on_the_scale_of_the_network() -> None:
    features, target = random(1, 3, 4, 4), random(1, 3, 4, 4, seed=1)
    torch.testing.assert_close(content_loss(100 * features, 100 * target), content_loss(features, target))
    torch.testing.assert_close(
        style_loss({"x": 100 * features}, {"x": gram_matrix(100 * target)}),
        style_loss({"x": features}, {"x": gram_matrix(target)}),
    )


def test_a_target_without_energy_gives_a_finite_loss() -> None:
    silent = torch.zeros(1, 2, 3, 3)
    assert style_loss({"x": silent}, {"x": gram_matrix(silent)}) == 0
    assert content_loss(silent, silent) == 0
    assert torch.isfinite(content_loss(silent + 1, silent))


def test_total_variation_of_a_checkerboard_is_two() -> None:
    board = (torch.arange(6)[:, None] + torch.arange(8)) % 2
    assert total_variation(board[None, None].double()) == 2


def test_total_variation_of_a_ramp_and_of_a_flat_picture() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 4, 5)  # one step of 1 across, none down
    assert total_variation(ramp) == 1
    assert total_variation(torch.full((1, 3, 4, 5), 0.7)) == 0


def test_gradients() -> None:
    features, target = random(1, 3, 3, 4), random(1, 3, 3, 4, seed=1)
    features.requires_grad_()
    grams = {"x": gram_matrix(target)}
    assert torch.autograd.gradcheck(gram_matrix, features)
    assert torch.autograd.gradcheck(lambda f: content_loss(f, target), features)
    assert torch.autograd.gradcheck(lambda f: style_loss({"x": f}, grams), features)
    assert torch.autograd.gradcheck(total_variation, features)
