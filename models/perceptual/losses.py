"""Losses of style transfer: pure, differentiable functions of features or pixels that return scalars.

Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks". Departure from the paper: the
squared distances of its eq. 1 and 4 scale with the activations of the network, which differ twentyfold between layers
and between networks. Here each distance is divided by the energy of its target. It is therefore 1 for all-zero features
and 0 for a match, and one set of weights fits every loss, layer, network and image size. Sums are computed in float32
or better, for features of any float type.

Style losses compare *positions*, (n, m, c): the c channels at m places of n images, in any order. Each channel is
weighted by D_c = 1 / sqrt(A_cc + 0.1 mean(A_cc)), where A is the Gram matrix of the style, so that a few channels with
large activations do not dominate. Gatys et al. instead scale the filters of the network to a mean activation of 1 over
ImageNet. The term 0.1 mean(A_cc) limits the weight of channels with almost no activation in the style.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.tensors import seeded

EPSILON = 1e-8  # keeps the ratio finite for a target without energy, such as the features of a black image
BLOCK = 4096  # positions per product of half-precision features; the products are summed in float32
MAX_SORTED = 2**22  # values that the sliced Wasserstein loss of a layer sorts; limits its number of directions

Styles = Sequence[tuple[Tensor, float]]  # positions (1, m, c) of each style and its share; the shares sum to 1
Target = tuple[Tensor, ...]


def positions(features: Tensor, places: Tensor | None = None) -> Tensor:
    """Returns features (n, c, h, w) as positions (n, m, c): a view of all, or a copy of those at indices `places`."""
    x = features.permute(0, 2, 3, 1).flatten(1, 2)
    return x if places is None else x.index_select(1, places)


def gram_matrix(x: Tensor) -> Tensor:
    """Gram matrix G = F Fᵀ / M: eq. 3 divided by the number of positions M, so that it does not depend on image size.

    x: positions (n, m, c) of any float type. Returns (n, c, c) in at least float32, symmetric and positive
    semidefinite.
    """
    gram: Tensor = _GramFunction.apply(x)  # type: ignore[no-untyped-call]
    return gram


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """Relative content loss ||F - P||² / ||P||² (eq. 1); both are features of one layer with equal shapes."""
    return (_widened(features) - _widened(target)).square().sum() / (_widened(target).square().sum() + EPSILON)


def total_variation(images: Tensor) -> Tensor:
    """Mean squared difference between neighbors, vertical plus horizontal: 2 for a checkerboard of zeros and ones.

    images: (n, c, h, w), h and w at least 2. The differences are squared, not absolute (Mahendran and Vedaldi 2015,
    eq. 4 with beta = 2), because L-BFGS needs a smooth loss.
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).square().mean()
    across = (images[..., :, 1:] - images[..., :, :-1]).square().mean()
    return down + across


# --- style losses ---------------------------------------------------------------------------------------------------


def gram_target(styles: Styles, seed: int) -> Target:
    """Target of `gram_loss`: the mean Gram matrix of the styles, D A D, and D."""
    gram = _mixed(styles, gram_matrix)
    scale = _channel_scale(gram)
    return scale[:, :, None] * scale[:, None, :] * gram, scale


def gram_loss(x: Tensor, target: Target) -> Tensor:
    """Relative Gram loss ||D (G - A) D||² / ||D A D||² (Gatys, Ecker and Bethge 2016, eq. 4)."""
    wanted, scale = target
    gram = scale[:, :, None] * scale[:, None, :] * gram_matrix(x)
    return (gram - wanted).square().sum((1, 2)).mean() / (wanted.square().sum() + EPSILON)


def mean_std_target(styles: Styles, seed: int) -> Target:
    """Target of `mean_std_loss`: the mean and standard deviation of each channel of the mixed styles, and D."""
    gram, mean = _mixed(styles, gram_matrix), _mixed(styles, _mean)
    return mean, _std(gram, mean), _channel_scale(gram)


def mean_std_loss(x: Tensor, target: Target) -> Tensor:
    """Relative ||D (μ - μ_s)||² + ||D (σ - σ_s)||² (Li et al. 2017, "Demystifying neural style transfer", eq. 14)."""
    wanted_mean, wanted_std, scale = target
    mean = _mean(x)
    std = _std(gram_matrix(x), mean)
    apart = (scale * (mean - wanted_mean)).square() + (scale * (std - wanted_std)).square()
    energy = (scale * wanted_mean).square() + (scale * wanted_std).square()
    return apart.sum(1).mean() / (energy.sum() + EPSILON)


def covariance_target(styles: Styles, seed: int) -> Target:
    """Target of `covariance_loss`: D μ, the square root of D C D, the energy of both, and D, of the mixed styles."""
    gram, mean = _mixed(styles, gram_matrix), _mixed(styles, _mean)
    scale = _channel_scale(gram)
    covariance = _covariance(gram, mean, scale)
    values, vectors = torch.linalg.eigh(covariance.double())
    root = (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.mT
    energy = (scale * mean).square().sum() + covariance.diagonal(dim1=1, dim2=2).sum()
    return scale * mean, root, energy, scale


def covariance_loss(x: Tensor, target: Target) -> Tensor:
    """Relative squared Wasserstein-2 distance of two Gaussians, |μ - μ_s|² + tr(C + C_s - 2 (C_s½ C C_s½)½).

    Dowson and Landau 1982, eq. 4, for Gaussians with the means and covariances of the features.
    """
    wanted_mean, root, energy, scale = target
    gram, mean = gram_matrix(x), _mean(x)
    covariance = _covariance(gram, mean, scale)
    values = torch.linalg.eigvalsh(root @ covariance.double() @ root)  # float64, for the roots of small eigenvalues
    least = 1e-14 * values.detach().amax(1, keepdim=True).clamp_min(EPSILON)  # smaller eigenvalues are rounding errors
    crossed = (values.clamp_min(least).sqrt() * (values > least)).sum(1)
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1) + root.square().sum()
    apart: Tensor = (scale * mean - wanted_mean).square().sum(1) + trace - 2 * crossed
    return apart.mean().to(gram.dtype) / (energy + EPSILON)


def sliced_wasserstein_target(styles: Styles, seed: int) -> Target:
    """Target of `sorted_loss`: sorted projections of the mixed styles on random directions, and the scaled directions.

    The directions are orthogonal and drawn once per target, while the paper draws new ones at each step: L-BFGS needs a
    loss that does not change. A transfer draws new directions at each level.
    """
    m, c = styles[0][0].shape[1:]
    drawn = torch.randn(c, c, generator=seeded(seed), dtype=torch.float64)
    directions = torch.linalg.qr(drawn)[0][:, : max(8, MAX_SORTED // m)].to(styles[0][0].device)
    return _sorted_target(styles, directions)


def histogram_target(styles: Styles, seed: int) -> Target:
    """Target of `sorted_loss`: the sorted values of each channel of the mixed styles, and D."""
    return _sorted_target(styles, torch.eye(styles[0][0].shape[2], device=styles[0][0].device, dtype=torch.float64))


def sorted_loss(x: Tensor, target: Target) -> Tensor:
    """Relative squared Wasserstein-2 distance of projections: mean over k, i of (sort(x d_k)_i - s_ki)².

    With random directions: Heitz et al. 2021, "A sliced Wasserstein loss for neural texture synthesis", eq. 4. With the
    channels as directions: Risser, Wilmot and Barnes 2017, "Stable and controllable neural texture synthesis and style
    transfer using histogram losses", eq. 5, with sorting instead of bins: each value is compared with the style's value
    of the same rank.
    """
    quantiles, directions = target
    projected = _widened(x @ directions.to(x.dtype)).mT.sort().values
    wanted = quantiles
    if projected.shape[2] != quantiles.shape[2]:
        wanted = F.interpolate(quantiles, projected.shape[2], mode="linear")  # quantile i is at (i + 1/2) / m in both
    return (projected - wanted).square().mean() / (wanted.square().mean() + EPSILON)


class StyleLoss(NamedTuple):
    """A style loss: a function of the styles to its target, and a distance of positions to that target."""

    target: Callable[[Styles, int], Target]
    distance: Callable[[Tensor, Target], Tensor]


STYLE_LOSSES = {
    "gram": StyleLoss(gram_target, gram_loss),
    "mean-std": StyleLoss(mean_std_target, mean_std_loss),
    "covariance": StyleLoss(covariance_target, covariance_loss),
    "sliced-wasserstein": StyleLoss(sliced_wasserstein_target, sorted_loss),
    "histogram": StyleLoss(histogram_target, sorted_loss),
}


class StyleTarget(NamedTuple):
    """Target of one weighted loss at one layer."""

    layer: str
    loss: str
    weight: float
    target: Target


def style_targets(
    styles: Sequence[tuple[Mapping[str, Tensor], float]], losses: Mapping[str, float], seed: int = 0
) -> list[StyleTarget]:
    """Computes the targets of `style_loss` from the positions of each style, mixed by their shares.

    styles: {layer: (1, m, c)} of each style, and its share. losses: weights by names of `STYLE_LOSSES`. Shares and
    weights are normalized to sum to 1. A mixture of two styles has the positions of both.
    """
    total, weights = sum(share for _, share in styles), sum(losses.values())
    return [
        StyleTarget(
            layer,
            name,
            weight / weights,
            STYLE_LOSSES[name].target([(by_layer[layer], share / total) for by_layer, share in styles], seed),
        )
        for layer in styles[0][0]
        for name, weight in losses.items()
    ]


def style_loss(features: Mapping[str, Tensor], targets: Sequence[StyleTarget]) -> Tensor:
    """Weighted style losses, averaged over layers and images (eq. 5 with equal weights).

    features: positions {layer: (n, m, c)}; layers without a target are ignored.
    """
    layers = len({target.layer for target in targets})
    parts = [t.weight * STYLE_LOSSES[t.loss].distance(features[t.layer], t.target) for t in targets]
    return torch.stack(parts).sum() / layers


# --- parts ----------------------------------------------------------------------------------------------------------


class _GramFunction(torch.autograd.Function):
    """Gram matrix whose gradient needs half the products of autograd's and no copies."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        n, m, c = x.shape
        if x.dtype.itemsize >= 4:
            gram: Tensor = x.mT @ x / m
            return gram
        whole = m // BLOCK * BLOCK
        blocks = x[:, :whole].reshape(n * (m // BLOCK), BLOCK, c)
        summed = (blocks.mT @ blocks).float().view(n, m // BLOCK, c, c).sum(1)
        rest = x[:, whole:]
        gram = (summed + (rest.mT @ rest).float()) / m
        return gram

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        both: Tensor = (gradients[0] + gradients[0].mT) / x.shape[1]
        back: Tensor = x @ both.to(x.dtype)
        return back


def _mixed(styles: Styles, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of a statistic over the styles, weighted by their shares; the statistic is a mean over positions."""
    return torch.stack([share * statistic(x) for x, share in styles]).sum(0)


def _mean(x: Tensor) -> Tensor:
    """Mean of each channel, (n, c), in at least float32."""
    return x.mean(1, dtype=torch.promote_types(x.dtype, torch.float32))


def _std(gram: Tensor, mean: Tensor) -> Tensor:
    """Standard deviation of each channel, (n, c); a small constant keeps the gradient of the root finite."""
    second = gram.diagonal(dim1=1, dim2=2)
    return ((second - mean.square()).clamp_min(0) + EPSILON * (second.detach() + EPSILON)).sqrt()


def _covariance(gram: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Scaled covariance D (A - μ μᵀ) D, (n, c, c)."""
    return scale[:, :, None] * scale[:, None, :] * (gram - mean[:, :, None] * mean[:, None, :])


def _channel_scale(gram: Tensor) -> Tensor:
    """Diagonal of D, (n, c)."""
    energy = gram.diagonal(dim1=1, dim2=2)
    return (energy + energy.mean(1, keepdim=True) / 10 + EPSILON).rsqrt()


def _sorted_target(styles: Styles, directions: Tensor) -> Target:
    """Quantiles (1, k, m) of the styles' projections on the columns of D `directions` (c, k), and those columns.

    m is the largest number of positions of a style; quantile i is at (i + 1/2) / m, linearly interpolated.
    """
    scale = _channel_scale(_mixed(styles, gram_matrix)).double()
    directions = (scale[0][:, None] * directions).to(torch.promote_types(styles[0][0].dtype, torch.float32))
    projected = torch.cat([_widened(x @ directions.to(x.dtype))[0].mT for x, _ in styles], dim=1)
    if len(styles) == 1:
        return projected.sort().values[None], directions
    shares = torch.cat([torch.full((x.shape[1],), share / x.shape[1]) for x, share in styles]).to(projected)
    values, order = projected.sort()
    weights = shares[order]
    middles = weights.cumsum(1) - weights / 2
    m = max(x.shape[1] for x, _ in styles)
    wanted = (torch.arange(m, device=values.device) + 0.5) / m
    upper = torch.searchsorted(middles, wanted.to(middles).expand(len(values), -1).contiguous())
    upper = upper.clamp(1, values.shape[1] - 1)
    low, high = middles.gather(1, upper - 1), middles.gather(1, upper)
    part = ((wanted - low) / (high - low)).clamp(0, 1)
    return torch.lerp(values.gather(1, upper - 1), values.gather(1, upper), part)[None], directions


def _widened(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
