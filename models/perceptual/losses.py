"""The losses of style transfer: pure functions of features or pixels, each a scalar that has a gradient.

Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks". Departure from the paper:
its eq. 1 and 4 are squared distances whose size follows the network's activations, and those differ twentyfold between
the layers of one network and between networks. Here each distance is divided by the energy of its target, so it is
1 for an all-zero picture and 0 for a match, and one set of weights fits every layer, network and picture size. Sums
are taken in float32 or better, whatever type the features have.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

EPSILON = 1e-8  # keeps the ratio finite for a target without any energy, such as the features of a black picture


def gram_matrix(features: Tensor) -> Tensor:
    """The correlations between channels, G = F Fᵀ / M: eq. 3 divided by the number of positions M.

    Divided by M, pictures of different sizes have comparable matrices. features: (n, c, h, w) of any float type; the
    result is (n, c, c) in at least float32, symmetric and positive semidefinite.
    """
    flat = _widened(features).flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """||F - P||² / ||P||²: eq. 1 relative to its target. Both are features of one layer with equal shapes."""
    return _relative_distance(_widened(features), _widened(target))


def style_loss(features: Mapping[str, Tensor], grams: Mapping[str, Tensor]) -> Tensor:
    """The mean over layers of ||D (G - A) D||² / ||D A D||²: eq. 4 relative to its target, eq. 5 with equal weights.

    D is diagonal, 1 / sqrt(A_cc + a tenth of the mean of A_cc): each channel counts by its change relative to its own
    energy in the style, so that a few loud ones do not rule. Gatys et al. reach that by scaling the network's filters
    to a mean activation of 1 over ImageNet. The tenth keeps channels that are almost silent in the style from ruling.

    features: {layer: (n, c, h, w)}, which may hold more layers than `grams`: {layer: (1 or n, c, c)}, the targets A.
    """
    return torch.stack([_gram_distance(gram_matrix(features[layer]), gram) for layer, gram in grams.items()]).mean()


def total_variation(images: Tensor) -> Tensor:
    """The mean squared step between neighbours, down plus across: 2 for a checkerboard of zeros and ones.

    images: (n, c, h, w), h and w at least 2. Squared rather than absolute steps (Mahendran and Vedaldi 2015, eq. 4 with
    beta = 2), because L-BFGS wants a smooth loss.
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).square().mean()
    across = (images[..., :, 1:] - images[..., :, :-1]).square().mean()
    return down + across


def _relative_distance(value: Tensor, target: Tensor) -> Tensor:
    return (value - target).square().sum() / (target.square().sum() + EPSILON)


def _gram_distance(gram: Tensor, target: Tensor) -> Tensor:
    energy = target.diagonal(dim1=1, dim2=2)
    scale = (energy + energy.mean(1, keepdim=True) / 10 + EPSILON).rsqrt()
    pairs = scale[:, :, None] * scale[:, None, :]
    return _relative_distance(pairs * gram, pairs * target)


def _widened(features: Tensor) -> Tensor:
    return features.to(torch.promote_types(features.dtype, torch.float32))
