"""What components and clusters mean: correlations with attributes and image statistics, and shares by cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

Float64 = NDArray[np.float64]
Labels = NDArray[np.int64]

STATISTICS = ("brightness", "saturation", "contrast", "edges", "warmth")
WORDS = {  # of a cluster with more and with less of it than others
    "brightness": ("bright", "dark"),
    "saturation": ("vivid", "pale"),
    "contrast": ("high contrast", "low contrast"),
    "edges": ("detailed", "smooth"),
    "warmth": ("warm", "cool"),
}
LUMA = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue (ITU-R BT.709)
BLOCK = 1_000  # images whose statistics are computed at once
ALPHA = 0.01  # chance that any of the named correlations or traits is due to chance (Bonferroni)
LEAST_CORRELATION = 0.3  # that is named
LEAST_DIFFERENCE = 0.2  # of two shares that is named
LEAST_SHIFT = 0.5  # of a statistic's means, in its standard deviations, that is named
NAMED = 3  # the most correlations and traits in a name
LISTED = 5  # the most correlations of a component in the figures
MAX_COMPONENTS, MAX_COLUMNS, MAX_CLUSTERS = 20, 20, 100  # in figures and heat maps


@dataclass(frozen=True)
class Traits:
    """What is known about members: attributes, then image statistics.

    values: (n, k), 1 and 0 for an attribute that a member has and lacks, nan for an unknown value. names: k names.
    n_attributes: columns that are attributes.
    """

    values: Float64
    names: tuple[str, ...]
    n_attributes: int


def image_statistics(images: NDArray[np.uint8]) -> Float64:
    """Simple statistics of RGB images (n, h, w, 3), (n, 5) in the order of `STATISTICS`, from values in 0 to 1;
    nan of images without pixels.

    brightness: mean of the luma Y = 0.2126 R + 0.7152 G + 0.0722 B. saturation: mean of (max - min) / max over the
    colors of each pixel, 0 for black (as in HSV). contrast: standard deviation of Y. edges: mean length of the gradient
    of Y, by central differences. warmth: mean of R - B, from -1 (blue) to 1 (orange and red).
    """
    if not images.size:
        return np.full((len(images), len(STATISTICS)), np.nan)
    blocks = [_statistics(images[start : start + BLOCK] / 255.0) for start in range(0, len(images), BLOCK)]
    return np.concatenate(blocks)


def _statistics(pixels: Float64) -> Float64:
    luma, most = pixels @ LUMA, pixels.max(3)
    saturation = (most - pixels.min(3)) / np.where(most > 0, most, 1)
    edges = np.hypot(*np.gradient(luma, axis=(1, 2)))
    columns = (luma.mean((1, 2)), saturation.mean((1, 2)), luma.std((1, 2)), edges.mean((1, 2)))
    return np.stack([*columns, (pixels[..., 0] - pixels[..., 2]).mean((1, 2))], axis=1)


def traits_of(attributes: NDArray[np.int8], names: Sequence[str], images: NDArray[np.uint8]) -> Traits:
    """Traits of members by their attributes (n, k), 1, 0 or -1 for unknown, and images (n, h, w, 3).

    A statistic that has the name of an attribute is left out.
    """
    kept = [column for column, name in enumerate(STATISTICS) if name not in names]
    values = np.concatenate([np.where(attributes < 0, np.nan, attributes), image_statistics(images)[:, kept]], axis=1)
    return Traits(values, (*names, *(STATISTICS[column] for column in kept)), len(names))


# --- components ------------------------------------------------------------------------------------------------------


def correlations(scores: NDArray[np.floating], values: Float64) -> Float64:
    """Pearson correlations of component scores (n, c) with values (n, k), (c, k).

    Of an attribute, whose values are 0 and 1, this is the point-biserial correlation. Members with an unknown value
    (nan) are left out. A correlation with a constant is nan.
    """
    known = ~np.isnan(values)
    n = known.sum(0)
    s = scores - scores.mean(0, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(known, values - np.where(known, values, 0).sum(0) / n, 0)
        covariances = s.T @ x / n - (s.T @ known / n) * (x.sum(0) / n)
        variances = (s**2).T @ known / n - (s.T @ known / n) ** 2, (x**2).sum(0) / n - (x.sum(0) / n) ** 2
        scale = np.sqrt(np.maximum(variances[0], 0) * np.maximum(variances[1], 0))
        return np.where(scale > 1e-12, np.clip(covariances / scale, -1, 1), np.nan)


def significant(r: Float64, n_known: Labels) -> NDArray[np.bool_]:
    """Which correlations (c, k) of so many known values (k,) are at least `LEAST_CORRELATION` and not due to chance.

    Student's t test of r = 0 at `ALPHA`, divided by the number of correlations (Bonferroni).
    """
    degrees = np.maximum(n_known - 2, 1)
    critical = t.ppf(1 - ALPHA / (2 * max(1, r.size)), degrees)
    least = np.where(n_known > 3, np.maximum(LEAST_CORRELATION, critical / np.sqrt(degrees + critical**2)), np.inf)
    found: NDArray[np.bool_] = np.abs(np.nan_to_num(r)) >= least
    return found


def component_meanings(scores: NDArray[np.floating], traits: Traits) -> list[dict[str, Any]]:
    """Names each of the first `MAX_COMPONENTS` components of scores (n, c) by its significant correlations.

    The name is like "woman 0.91, hat -0.42", and empty without any.
    """
    r = correlations(scores[:, :MAX_COMPONENTS], traits.values)
    named = significant(r, (~np.isnan(traits.values)).sum(0))
    meanings = []
    for component, row in enumerate(r):
        order = sorted(np.flatnonzero(named[component]), key=lambda column: -abs(row[column]))[:LISTED]
        found = {traits.names[column]: round(float(row[column]), 2) for column in order}
        name = ", ".join(f"{trait} {value:.2f}" for trait, value in list(found.items())[:NAMED])
        meanings.append({"component": component, "name": name, "correlations": found})
    return meanings


def strongest(r: Float64) -> list[int]:
    """Selects at most `MAX_COLUMNS` columns of correlations (c, k), those with the largest, by component.

    Columns without a defined correlation are left out.
    """
    size = np.abs(np.nan_to_num(r))
    columns = [column for column in range(r.shape[1]) if not np.isnan(r[:, column]).all()]
    kept = sorted(columns, key=lambda column: -size[:, column].max())[:MAX_COLUMNS]
    return sorted(kept, key=lambda column: (size[:, column].argmax(), -size[:, column].max()))


# --- clusters --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moments:
    """Means inside (c, k) and outside of each cluster, their z scores (c, k), and deviations (k,) over all members."""

    inside: Float64
    outside: Float64
    z: Float64
    deviation: Float64


def moments(labels: Labels, traits: Traits) -> Moments:
    """Compares the traits of the members of each cluster with those of all others; nan where either has none known.

    labels: (n,), -1 for noise. z of an attribute: the test of two proportions with the pooled share p, (p1 - p2) /
    sqrt(p (1 - p) (1 / n1 + 1 / n2)). z of a statistic: the same test with its variance instead of p (1 - p).
    """
    known = ~np.isnan(traits.values)
    x = np.where(known, traits.values, 0)
    member = (labels[:, None] == np.arange(max(labels.max() + 1, 0))).astype(np.float64)
    n_in, total_in = member.T @ known, member.T @ x
    n_out, total_out = known.sum(0) - n_in, x.sum(0) - total_in
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = x.sum(0) / known.sum(0)
        deviation = np.sqrt(np.where(known, (x - mean) ** 2, 0).sum(0) / known.sum(0))
        inside, outside = total_in / n_in, total_out / n_out
        z = (inside - outside) / (deviation * np.sqrt(1 / n_in + 1 / n_out))
    return Moments(inside, outside, z, deviation)


def cluster_meanings(labels: Labels, traits: Traits) -> list[dict[str, Any]]:
    """Names each of the first `MAX_CLUSTERS` clusters by what sets it apart from all other members.

    The name is like "hat, not smiling", then statistics like "bright"; it is empty if nothing is significant. `traits`
    has the share (of an attribute) or mean (of a statistic) inside and outside, and the z score.
    """
    found = moments(labels, traits)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = (found.inside - found.outside) / found.deviation
    is_attribute = np.arange(len(traits.names)) < traits.n_attributes
    size = np.where(is_attribute, (found.inside - found.outside) / LEAST_DIFFERENCE, shift / LEAST_SHIFT)
    critical = norm.ppf(1 - ALPHA / (2 * max(1, found.z.size)))
    sizes = np.where(np.abs(np.nan_to_num(found.z)) >= critical, np.abs(np.nan_to_num(size)), 0)
    meanings = []
    for cluster in range(min(len(sizes), MAX_CLUSTERS)):
        columns = [column for column in range(len(is_attribute)) if sizes[cluster, column] >= 1]
        columns.sort(key=lambda column: (column >= traits.n_attributes, -sizes[cluster, column]))
        meanings.append(_cluster_meaning(cluster, columns[:NAMED], found, traits))
    return meanings


def _cluster_meaning(cluster: int, columns: Sequence[int], found: Moments, traits: Traits) -> dict[str, Any]:
    names, rows = [], []
    for column in columns:
        trait, more = traits.names[column], found.z[cluster, column] > 0
        attribute = column < traits.n_attributes
        names.append((trait if more else f"not {trait}") if attribute else WORDS[trait][0 if more else 1])
        inside, outside = found.inside[cluster, column], found.outside[cluster, column]
        figures = {"inside": inside, "outside": outside, "z": found.z[cluster, column]}
        rows.append({"trait": trait} | {name: round(float(value), 3) for name, value in figures.items()})
    return {"cluster": cluster, "name": ", ".join(names), "traits": rows}


def attribute_shares(labels: Labels, traits: Traits) -> tuple[tuple[str, ...], Float64, Float64]:
    """Names of the attributes that differ most between clusters, their shares by cluster (c, k), and overall (k,).

    At most `MAX_COLUMNS` attributes and the first `MAX_CLUSTERS` clusters; nan where none is known.
    """
    of_attributes = Traits(traits.values[:, : traits.n_attributes], traits.names[: traits.n_attributes], 0)
    found = moments(labels, of_attributes)
    spread = np.abs(np.nan_to_num(found.inside - found.outside)).max(0, initial=0)
    kept = np.sort(np.argsort(-spread, kind="stable")[:MAX_COLUMNS])
    known = ~np.isnan(of_attributes.values)
    overall = np.where(known, of_attributes.values, 0).sum(0) / np.maximum(known.sum(0), 1)
    return tuple(of_attributes.names[column] for column in kept), found.inside[:MAX_CLUSTERS, kept], overall[kept]
