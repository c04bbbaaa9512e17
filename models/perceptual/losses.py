"""The losses of style transfer: pure functions of features or pixels, each a scalar that has a gradient.

Gatys, Ecker and Bethge 2016, "Image style transfer using convolutional neural networks". Departure from the paper:
its eq. 1 and 4 are squared distances whose size follows the network's activations, and those differ twentyfold between
the layers of one network and between networks. Here each distance is divided by the energy of its target, so it is
1 for an all-zero image and 0 for a match, and one set of weights fits every loss, layer, network and image size.
Sums are taken in float32 or better, whatever type the features have.

What the losses of style compare are *positions*, (n, m, c): the c channels at m places of n images, in any order.
Each channel counts by its change relative to its own energy in the style, so that a few loud ones do not rule: it is
multiplied by D_c = 1 / sqrt(A_cc + a tenth of the mean of A_cc), where A is the style's Gram matrix. Gatys et al. reach
that by scaling the network's filters to a mean activation of 1 over ImageNet. The tenth keeps channels that are almost
silent in the style from ruling.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.seeds import seeded

EPSILON = 1e-8  # keeps the ratio finite for a target without any energy, such as the features of a black image
BLOCK = 4096  # positions of one product of half-precision features, whose sums are added in float32
SORTED = (
    2**22
)  # numbers that a layer's sliced Wasserstein distance sorts at most, which says how many directions it has

Styles = Sequence[tuple[Tensor, float]]  # positions (1, m, c) of each style, and its share; the shares add up to 1
Target = tuple[Tensor, ...]


def positions(features: Tensor, places: Tensor | None = None) -> Tensor:
    """Features (n, c, h, w) as positions (n, m, c): all of them, without a copy, or those at the indices `places`."""
    found = features.permute(0, 2, 3, 1).flatten(1, 2)
    return found if places is None else found.index_select(1, places)


def gram_matrix(x: Tensor) -> Tensor:
    """The correlations between channels, G = F Fᵀ / M: eq. 3 divided by the number of positions M.

    Divided by M, images of different sizes have comparable matrices. x: positions (n, m, c) of any float type; the
    result is (n, c, c) in at least float32, symmetric and positive semidefinite.
    """
    gram: Tensor = _GramFunction.apply(x)  # type: ignore[no-untyped-call]
    return gram


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """||F - P||² / ||P||²: eq. 1 relative to its target. Both are features of one layer with equal shapes."""
    return (_widened(features) - _widened(target)).square().sum() / (_widened(target).square().sum() + EPSILON)


def total_variation(images: Tensor) -> Tensor:
    """The mean squared step between neighbors, down plus across: 2 for a checkerboard of zeros and ones.

    images: (n, c, h, w), h and w at least 2. Squared rather than absolute steps (Mahendran and Vedaldi 2015, eq. 4 with
    beta = 2), because L-BFGS wants a smooth loss.
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).square().mean()
    across = (images[..., :, 1:] - images[..., :, :-1]).square().mean()
    return down + across


# --- what is compared of a style ------------------------------------------------------------------------------------


def gram_target(styles: Styles, seed: int) -> Target:
    """D A D, the styles' mean Gram matrix, and D."""
    gram = _mixed(styles, gram_matrix)
    scale = _channel_scale(gram)
    return scale[:, :, None] * scale[:, None, :] * gram, scale


def gram_loss(x: Tensor, target: Target) -> Tensor:
    """||D (G - A) D||² / ||D A D||²: Gatys, Ecker and Bethge 2016, eq. 4 relative to its target."""
    wanted, scale = target
    found = scale[:, :, None] * scale[:, None, :] * gram_matrix(x)
    return (found - wanted).square().sum((1, 2)).mean() / (wanted.square().sum() + EPSILON)


def mean_std_target(styles: Styles, seed: int) -> Target:
    """The mean and the standard deviation of each channel of the mixed styles, and D."""
    gram, mean = _mixed(styles, gram_matrix), _mixed(styles, _mean)
    return mean, _std(gram, mean), _channel_scale(gram)


def mean_std_loss(x: Tensor, target: Target) -> Tensor:
    """||D (μ - μ_s)||² + ||D (σ - σ_s)||², relative: Li et al. 2017, "Demystifying neural style transfer", eq. 14."""
    wanted_mean, wanted_std, scale = target
    mean = _mean(x)
    std = _std(gram_matrix(x), mean)
    apart = (scale * (mean - wanted_mean)).square() + (scale * (std - wanted_std)).square()
    energy = (scale * wanted_mean).square() + (scale * wanted_std).square()
    return apart.sum(1).mean() / (energy.sum() + EPSILON)


def covariance_target(styles: Styles, seed: int) -> Target:
    """The mean D μ and the square root of the covariance D C D of the mixed styles, their energy, and D."""
    gram, mean = _mixed(styles, gram_matrix), _mixed(styles, _mean)
    scale = _channel_scale(gram)
    covariance = _covariance(gram, mean, scale)
    values, vectors = torch.linalg.eigh(covariance.double())
    root = (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.mT
    energy = (scale * mean).square().sum() + covariance.diagonal(dim1=1, dim2=2).sum()
    return scale * mean, root, energy, scale


def covariance_loss(x: Tensor, target: Target) -> Tensor:
    """The squared Wasserstein-2 distance of two Gaussians, |μ - μ_s|² + tr(C + C_s - 2 (C_s½ C C_s½)½), relative.

    Dowson and Landau 1982, eq. 4, of the Gaussians that have the means and covariances of the features.
    """
    wanted_mean, root, energy, scale = target
    gram, mean = gram_matrix(x), _mean(x)
    covariance = _covariance(gram, mean, scale)
    values = torch.linalg.eigvalsh(root @ covariance.double() @ root)  # the roots of small ones need the precision
    least = 1e-14 * values.detach().amax(1, keepdim=True).clamp_min(EPSILON)  # what is below it is rounding
    crossed = (values.clamp_min(least).sqrt() * (values > least)).sum(1)
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1) + root.square().sum()
    apart: Tensor = (scale * mean - wanted_mean).square().sum(1) + trace - 2 * crossed
    return apart.mean().to(gram.dtype) / (energy + EPSILON)


def sliced_wasserstein_target(styles: Styles, seed: int) -> Target:
    """The sorted projections of the mixed styles on random directions, and the directions, D before them.

    The directions are orthogonal and drawn once for a target, where the paper draws them anew at each step: a loss that
    changes under it is none that L-BFGS can follow. A transfer draws them anew at each of its levels.
    """
    m, c = styles[0][0].shape[1:]
    drawn = torch.randn(c, c, generator=seeded(seed), dtype=torch.float64)
    directions = torch.linalg.qr(drawn)[0][:, : max(8, SORTED // m)].to(styles[0][0].device)
    return _sorted_target(styles, directions)


def histogram_target(styles: Styles, seed: int) -> Target:
    """The sorted values of each channel of the mixed styles, and D."""
    return _sorted_target(styles, torch.eye(styles[0][0].shape[2], device=styles[0][0].device, dtype=torch.float64))


def sorted_loss(x: Tensor, target: Target) -> Tensor:
    """The squared Wasserstein-2 distance of the projections, relative: mean over k, i of (sort(x d_k)_i - s_ki)².

    With random directions Heitz et al. 2021, "A sliced Wasserstein loss for neural texture synthesis", eq. 4. With the
    channels themselves Risser, Wilmot and Barnes 2017, "Stable and controllable neural texture synthesis and style
    transfer using histogram losses", eq. 5, where sorting takes the place of bins: a value becomes the style's of the
    same rank.
    """
    quantiles, directions = target
    found = _widened(x @ directions.to(x.dtype)).mT.sort().values
    wanted = quantiles
    if found.shape[2] != quantiles.shape[2]:
        wanted = F.interpolate(quantiles, found.shape[2], mode="linear")  # quantile i lies at (i + 1/2) / m in both
    return (found - wanted).square().mean() / (wanted.square().mean() + EPSILON)


class StyleLoss(NamedTuple):
    """How a loss reads styles once, and how it compares positions with what it read."""

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
    """What one loss, by its weight, wants of one layer."""

    layer: str
    loss: str
    weight: float
    target: Target


def style_targets(
    styles: Sequence[tuple[Mapping[str, Tensor], float]], losses: Mapping[str, float], seed: int = 0
) -> list[StyleTarget]:
    """What `style_loss` compares with: read once from the positions of each layer of each style, mixed by their shares.

    styles: {layer: (1, m, c)} of each, and its share. losses: names of `STYLE_LOSSES` and their weights; both are made
    to add up to 1. An image mixed of two styles has the positions of both.
    """
    total, weights = sum(share for _, share in styles), sum(losses.values())
    return [
        StyleTarget(
            layer,
            name,
            weight / weights,
            STYLE_LOSSES[name].target([(found[layer], share / total) for found, share in styles], seed),
        )
        for layer in styles[0][0]
        for name, weight in losses.items()
    ]


def style_loss(found: Mapping[str, Tensor], targets: Sequence[StyleTarget]) -> Tensor:
    """The mean over layers of the weighted losses, and over images: eq. 5 with equal weights.

    found: positions {layer: (n, m, c)}, which may hold more layers than the targets.
    """
    layers = len({target.layer for target in targets})
    parts = [t.weight * STYLE_LOSSES[t.loss].distance(found[t.layer], t.target) for t in targets]
    return torch.stack(parts).sum() / layers


# --- parts ----------------------------------------------------------------------------------------------------------


class _GramFunction(torch.autograd.Function):
    """The Gram matrix, with half the products and none of the copies that autograd would make for its gradient."""

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
    """A statistic that is a mean over positions, of positions mixed by their styles' shares."""
    return torch.stack([share * statistic(x) for x, share in styles]).sum(0)


def _mean(x: Tensor) -> Tensor:
    """The mean of each channel, (n, c), in at least float32."""
    return x.mean(1, dtype=torch.promote_types(x.dtype, torch.float32))


def _std(gram: Tensor, mean: Tensor) -> Tensor:
    """The standard deviation of each channel, (n, c); its root is taken a little above 0, where it has a gradient."""
    second = gram.diagonal(dim1=1, dim2=2)
    return ((second - mean.square()).clamp_min(0) + EPSILON * (second.detach() + EPSILON)).sqrt()


def _covariance(gram: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """D (A - μ μᵀ) D, (n, c, c)."""
    return scale[:, :, None] * scale[:, None, :] * (gram - mean[:, :, None] * mean[:, None, :])


def _channel_scale(gram: Tensor) -> Tensor:
    """The diagonal of D, (n, c)."""
    energy = gram.diagonal(dim1=1, dim2=2)
    return (energy + energy.mean(1, keepdim=True) / 10 + EPSILON).rsqrt()


def _sorted_target(styles: Styles, directions: Tensor) -> Target:
    """Quantiles (1, k, m) of the styles' projections on the columns of D `directions` (c, k), and those columns.

    m is that of the style with most positions; quantile i is that at (i + 1/2) / m, between positions interpolated.
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
