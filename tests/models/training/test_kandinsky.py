import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from models.training.kandinsky import linear_prior


@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_the_prior_is_scikit_learns_ridge_regression(ridge: float) -> None:
    generator = torch.Generator().manual_seed(0)
    texts, images = torch.randn(200, 5, generator=generator), torch.randn(200, 4, generator=generator) + 3
    prior = linear_prior(texts, images, ridge)
    reference = Ridge(alpha=ridge).fit((texts / texts.norm(dim=1, keepdim=True)).double(), images.double())
    assert np.allclose(prior.weight.detach(), reference.coef_, atol=1e-5)
    assert np.allclose(prior.bias.detach(), reference.intercept_, atol=1e-5)


def test_a_text_is_the_mean_of_its_images() -> None:
    texts = torch.eye(3).repeat_interleave(50, 0)
    images = 4 * texts[:, :2] + torch.randn(150, 2, generator=torch.Generator().manual_seed(1))
    prior = linear_prior(texts, images, ridge=1e-6)
    for k in range(3):
        found = prior(torch.eye(3)[k])
        assert torch.allclose(found, images[texts[:, k] == 1].mean(0), atol=1e-4)
