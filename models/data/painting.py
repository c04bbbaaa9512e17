"""Procedural art: each function paints one family of styles in a palette, from random numbers only.

A palette is (5, 3) in [0, 1], from dark to light. Paintings are (SIDE, SIDE, 3) in about [0, 1].
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.spatial import Delaunay, cKDTree

SIDE, OVERSAMPLING = 256, 2
BIG = SIDE * OVERSAMPLING
Array = NDArray[np.float64]
Rng = np.random.Generator
Painting = Callable[[Rng, Array], Array]


# --- parts -----------------------------------------------------------------------------------------------------------


def noise(rng: Rng, cells: int, octaves: int = 1, side: int = SIDE) -> Array:
    """Smooth noise (side, side) from 0 to 1, about `cells` hills a side; each octave has half the size and height."""
    total = np.zeros((side, side))
    for octave in range(octaves):
        grid = rng.random((cells * 2**octave + 2,) * 2, np.float32)
        smooth = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
        total += np.asarray(smooth, np.float64) / 2**octave
    total -= total.min()
    return np.asarray(total / total.max(), np.float64)


def colored(palette: Array, values: Array) -> Array:
    """Colors (..., 3) of values from 0, the first of the palette, to 1, its last."""
    at = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(values, at, palette[:, channel]) for channel in range(3)], -1)


def smooth_step(values: Array, low: float, high: float) -> Array:
    """Rises from 0 at `low` to 1 at `high`, without corners."""
    t = ((values - low) / (high - low)).clip(0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float64)


def positions() -> tuple[Array, Array]:
    """Coordinates x and y of the pixels, from 0 to 1."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    return x, y


def composition(rng: Rng, palette: Array, cells: int = 2) -> Array:
    """A field of colors (SIDE, SIDE, 3) to paint from: soft areas of the palette with clear borders."""
    values = noise(rng, cells, 2)
    steps = rng.integers(3, 7)
    return colored(palette, (0.6 * np.round(values * steps) / steps + 0.4 * values).clip(0, 1))


def pixel(points: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pixels under points (..., 2), x and y of a large image."""
    at = (points // OVERSAMPLING).astype(int).clip(0, SIDE - 1)
    return at[..., 1], at[..., 0]


def eights(colors: Array) -> Any:
    """Colors (..., 3) as nested lists of 0 to 255."""
    return (colors * 255).round().clip(0, 255).astype(int).tolist()


def rgb(color: Array) -> tuple[int, int, int]:
    """A color for Pillow."""
    r, g, b = eights(color)
    return r, g, b


def canvas(color: Array) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A large image of one color, and its pen."""
    image = Image.new("RGB", (BIG, BIG), rgb(color))
    return image, ImageDraw.Draw(image)


def reduced(image: Image.Image) -> Array:
    """A large image at its size, anti-aliased."""
    return np.asarray(image.reduce(OVERSAMPLING), np.float64) / 255


def strokes(rng: Rng, colors: Array, angles: Array, n: int, length: float, width: float) -> Array:
    """Paints `colors` with n brush strokes along `angles`, each with a lighter and a darker bristle."""
    image, pen = canvas(colors.mean((0, 1)))
    at, size = rng.random((n, 2)) * BIG, rng.uniform(0.6, 1.4, n)
    shades, angle = colors[pixel(at)] + rng.normal(0, 0.05, (n, 1)), angles[pixel(at)]
    along = np.stack([np.cos(angle), np.sin(angle)], 1)
    across = along[:, ::-1] * (-1, 1) * (width / 3 * size)[:, None]
    along *= (length / 2 * size)[:, None]
    # (n, 3 bristles, 2 ends, 2)
    lines = at[:, None, None] + np.array([0, 1, -1])[:, None, None] * across[:, None, None]
    lines = lines + np.array([-1, 1])[:, None] * along[:, None, None]
    fills = eights(shades[:, None] + np.array([0, 0.07, -0.07])[:, None])
    for ends, fill, thick in zip(lines.reshape(n, 3, 4).tolist(), fills, (width * size).tolist(), strict=True):
        for line, color, pixels in zip(ends, fill, (thick, 2, 2), strict=True):
            pen.line(line, fill=tuple(color), width=round(pixels))
    return reduced(image)


# --- families --------------------------------------------------------------------------------------------------------


def stripes(rng: Rng, palette: Array) -> Array:
    """Warped bands of colors."""
    x, y = positions()
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle) + rng.uniform(0, 0.35) * noise(rng, 2)
    edges = np.cumsum(rng.uniform(0.015, 0.09, 80)) - 1
    band = np.searchsorted(edges, along)
    shades = palette[rng.integers(len(palette), size=len(edges) + 1)]
    return np.asarray(shades[band] + 0.06 * (noise(rng, 40)[..., None] - 0.5), np.float64)


def pointillism(rng: Rng, palette: Array) -> Array:
    """Dabs of pure colors."""
    colors = composition(rng, palette)
    image, pen = canvas(palette[-1])
    for radius, n in ((9, 1200), (6, 2200)):
        at, size = rng.random((n, 2)) * BIG, radius * rng.uniform(0.6, 1.1, (n, 1))
        other, mixed = palette[rng.integers(len(palette), size=n)], rng.choice((0.0, 0.45), (n, 1))
        fills = eights((1 - mixed) * colors[pixel(at)] + mixed * other + rng.normal(0, 0.03, (n, 1)))
        for box, fill in zip(np.concatenate([at - size, at + size], 1).tolist(), fills, strict=True):
            pen.ellipse(box, fill=tuple(fill))
    return reduced(image)


def stained_glass(rng: Rng, palette: Array) -> Array:
    """Panes of colored glass in dark lead."""
    points = rng.random((int(rng.integers(30, 110)), 2))
    x, y = positions()
    warp = 0.04 * (noise(rng, 4) - 0.5)
    distances, panes = cKDTree(points).query(np.stack([y + warp, x - warp], -1), k=2)
    shades = colored(palette[1:], rng.random(len(points)))[panes[..., 0]] * (0.75 + 0.5 * noise(rng, 8, 2)[..., None])
    lead = smooth_step(distances[..., 1] - distances[..., 0], 0.006, 0.016)[..., None]
    return np.asarray(lead * shades + (1 - lead) * 0.6 * palette[0], np.float64)


def marbling(rng: Rng, palette: Array) -> Array:
    """Veins of colors that flow into each other."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    values = noise(rng, int(rng.integers(2, 4)), 3)
    for _ in range(2):
        reach = rng.uniform(20, 60)
        down, right = (noise(rng, 3, 2) - 0.5) * reach, (noise(rng, 3, 2) - 0.5) * reach
        at = (
            (rows + down).round().astype(int).clip(0, SIDE - 1),
            (columns + right).round().astype(int).clip(0, SIDE - 1),
        )
        values = values[at]
    folds = np.abs((values * rng.uniform(2, 5)) % 2 - 1)
    vein = smooth_step(np.abs(folds - 0.5), 0.01, 0.05)[..., None]
    return np.asarray(
        vein * colored(palette[rng.permutation(len(palette))], folds) + (1 - vein) * palette[-1], np.float64
    )


def brush_strokes(rng: Rng, palette: Array) -> Array:
    """Thick paint in strokes that follow a slow flow."""
    angles = rng.uniform(0, np.pi) + np.pi * (noise(rng, 2) - 0.5)
    return strokes(rng, composition(rng, palette), angles, 1300, rng.uniform(40, 70), rng.uniform(9, 15))


def swirls(rng: Rng, palette: Array) -> Array:
    """Short strokes around a few whirls."""
    x, y = positions()
    flow = np.zeros((2, SIDE, SIDE)) + 0.4 * rng.standard_normal((2, 1, 1))
    for cx, cy, turn in zip(*rng.random((2, 5)), rng.choice((-1, 1), 5), strict=True):
        strength = turn * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.04) * 8
        flow += strength * np.stack([-(y - cy), x - cx])
    return strokes(rng, composition(rng, palette, 3), np.arctan2(flow[1], flow[0]), 2200, 30, rng.uniform(5, 8))


def hatching(rng: Rng, palette: Array) -> Array:
    """Crossed lines of ink on paper, denser in the shadows."""
    paper, tone = palette[-1] * 0.5 + 0.5 * rng.uniform(0.9, 1), noise(rng, 2, 2)
    image, pen = canvas(paper)
    first = rng.uniform(0, np.pi)
    for angle, darkest, ink in ((first, 0.85, 0), (first + 0.9, 0.6, 0), (first - 0.7, 0.4, 1)):
        at = rng.random((2600, 2)) * BIG
        at = at[tone[pixel(at)] < darkest * rng.uniform(0.7, 1.1, len(at))]
        step = np.array([np.cos(angle), np.sin(angle)]) * 24 * rng.uniform(0.6, 1.3, (len(at), 1))
        step += rng.normal(0, 1.5, at.shape)
        for line in np.concatenate([at - step, at + step], 1).tolist():
            pen.line(line, fill=rgb(palette[ink]), width=2)
    return reduced(image)


def mosaic(rng: Rng, palette: Array) -> Array:
    """Small tiles in grout."""
    colors, n = composition(rng, palette), int(rng.integers(14, 30))
    image, pen = canvas(palette[int(rng.choice((0, -1)))] * 0.8)
    size, corners = BIG / n, np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    for row, column in product(range(-1, n + 1), repeat=2):
        x, y = (np.array([column, row]) + 0.5 + (row % 2) * np.array([0.5, 0])) * size
        quad = np.array([x, y]) + corners * size * 0.42 + rng.normal(0, size * 0.06, (4, 2))
        pen.polygon(quad.ravel().tolist(), fill=rgb(colors[pixel(np.array([x, y]))] + rng.normal(0, 0.06)))
    return reduced(image)


def waves(rng: Rng, palette: Array) -> Array:
    """Overlapping fans of rings, row upon row, as on Japanese textiles."""
    image, pen = canvas(palette[0])
    radius, rings = rng.uniform(36, 80), int(rng.integers(3, 6))
    shades = palette[rng.permutation(len(palette))]
    for row in range(-1, int(BIG / radius * 2) + 4):
        for column in range(-1, int(BIG / radius / 2) + 2):
            x, y = (2 * column + row % 2) * radius, row * radius / 2
            for ring in range(rings):
                r = radius * (1 - ring / rings)
                pen.ellipse((x - r, y - r, x + r, y + r), rgb(shades[ring % len(shades)]), rgb(palette[0]), 2)
    return reduced(image)


def halftone(rng: Rng, palette: Array) -> Array:
    """Printed dots of two or three inks, larger where it is darker."""
    x, y = positions()
    printed = np.ones((SIDE, SIDE, 1)) * palette[-1]
    for ink in range(int(rng.integers(2, 4))):
        angle, n = rng.uniform(0, np.pi), rng.uniform(22, 36)
        u, v = (x * np.cos(angle) + y * np.sin(angle)) * n, (y * np.cos(angle) - x * np.sin(angle)) * n
        from_center = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
        reach = 0.05 + 0.6 * smooth_step(noise(rng, 2, 2), 0.2, 0.9)
        dot = smooth_step(reach - from_center, -0.06, 0.06)[..., None]
        printed = printed * (1 - dot) + dot * palette[ink]
    return np.asarray(printed, np.float64)


def watercolor(rng: Rng, palette: Array) -> Array:
    """Translucent blots with dark rims on wet paper."""
    x, y = positions()
    painted = np.ones((SIDE, SIDE, 3)) * (0.75 + 0.25 * palette[-1])
    for _ in range(int(rng.integers(9, 16))):
        cx, cy, radius = rng.random(), rng.random(), rng.uniform(0.12, 0.36)
        inside = radius - np.hypot(x - cx, y - cy) + 0.22 * (noise(rng, 4, 3) - 0.5)
        wet = smooth_step(inside, 0, 0.012) * (0.35 + 0.4 * noise(rng, 3, 2)) + 0.3 * np.exp(-((inside / 0.012) ** 2))
        color = palette[rng.integers(len(palette) - 1)]
        painted *= 1 - wet[..., None] * (1 - color)
    return np.asarray(painted * (0.95 + 0.05 * noise(rng, 90)[..., None]), np.float64)


def constructivism(rng: Rng, palette: Array) -> Array:
    """Bars, disks and triangles at bold angles."""
    image, pen = canvas(palette[-1])
    tilt = rng.uniform(0, np.pi)
    for shape in rng.choice(("bar", "bar", "disk", "ring", "triangle"), 15):
        x, y = rng.random(2) * BIG
        color, size = rgb(palette[rng.integers(len(palette))]), rng.uniform(40, 170)
        box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
        angle = tilt + rng.choice((0, np.pi / 2, np.pi / 4))
        along = np.array([np.cos(angle), np.sin(angle)])
        if shape == "disk":
            pen.ellipse(box, fill=color)
        elif shape == "ring":
            pen.ellipse(box, outline=color, width=int(rng.integers(6, 18)))
        else:
            ends = np.array([x, y]) - along * size * 1.6, np.array([x, y]) + along * size * 1.6
            across = np.array([-along[1], along[0]]) * (rng.uniform(6, 30) if shape == "bar" else size)
            tip = [ends[1] + across] if shape == "bar" else []
            pen.polygon(np.concatenate([*ends, *tip, ends[0] + across]).tolist(), fill=color)
    return reduced(image) + 0.05 * (noise(rng, 60)[..., None] - 0.5)


def engraving(rng: Rng, palette: Array) -> Array:
    """Parallel lines that swell in the shadows and follow the form."""
    x, y = positions()
    angle, form = rng.uniform(0, np.pi), noise(rng, 2, 2)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(26, 46) + form * rng.uniform(3, 9)
    ridge = np.abs(phase % 1 - 0.5) * 2
    ink = smooth_step((0.15 + 0.75 * noise(rng, 2)) - ridge, -0.12, 0.12)[..., None]
    paper = palette[-1] * (0.94 + 0.06 * noise(rng, 50)[..., None])
    return np.asarray(ink * palette[int(rng.integers(2))] + (1 - ink) * paper, np.float64)


def facets(rng: Rng, palette: Array) -> Array:
    """Triangles of flat color, as of cut crystal."""
    colors = composition(rng, palette, 3)
    points = np.concatenate(
        [rng.uniform(-0.1, 1.1, (int(rng.integers(70, 200)), 2)), list(product((-0.3, 1.3), repeat=2))]
    )
    image, pen = canvas(palette[0])
    for triangle in points[Delaunay(points).simplices]:
        shade = colors[pixel(triangle.mean(0) * BIG)] * rng.uniform(0.75, 1.2)
        pen.polygon((triangle * BIG).ravel().tolist(), fill=rgb(shade))
    return reduced(image)


def paper_cut(rng: Rng, palette: Array) -> Array:
    """Layers of cut paper, each with its shadow."""
    x, y = positions()
    painted = np.ones((SIDE, SIDE, 1)) * palette[-1]
    layers, upright = int(rng.integers(6, 10)), rng.random() < 0.4
    for layer in range(layers):
        edge = (layer + 0.3) / layers + 0.22 * (noise(rng, int(rng.integers(2, 5)), 2)[layer] - 0.5)
        below = x - edge[:, None] if upright else y - edge
        shadow = 0.45 * np.exp(-np.maximum(-below, 0) / 0.02) * (below < 0)
        painted = painted * (1 - shadow[..., None])
        sheet = smooth_step(below, 0, 0.006)[..., None]
        painted = painted * (1 - sheet) + sheet * palette[(layers - layer) % len(palette)]
    return np.asarray(painted * (0.96 + 0.04 * noise(rng, 80)[..., None]), np.float64)


FAMILIES: dict[str, Painting] = {
    painting.__name__: painting
    for painting in (
        *(stripes, pointillism, stained_glass, marbling, brush_strokes, swirls, hatching, mosaic, waves, halftone),
        *(watercolor, constructivism, engraving, facets, paper_cut),
    )
}
