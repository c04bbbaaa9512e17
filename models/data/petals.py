"""Parts of drawn flowers: petals from a light to a deep tone, rings of petals, discs, stamens, and a canvas.

A canvas has the pose of one flower; its frame has coordinates in which the head extends from about -1 to 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from models.data.drawing import Points, Rgb, oval

SIDE, OVERSAMPLING = 128, 3
COLORS = {  # the light and the deep tone of each; a petal runs from one to the other
    "white": ((238, 238, 234), (190, 193, 206)),
    "yellow": ((255, 226, 76), (232, 164, 22)),
    "orange": ((255, 172, 72), (218, 88, 18)),
    "red": ((238, 66, 56), (146, 14, 28)),
    "pink": ((253, 194, 210), (218, 80, 134)),
    "purple": ((190, 132, 218), (96, 44, 148)),
    "blue": ((146, 168, 244), (62, 72, 186)),
}
TONES = {  # top and bottom
    "cream": ((236, 228, 206), (224, 212, 184)),
    "green": ((128, 164, 110), (112, 150, 96)),
    "grey": ((152, 154, 158), (138, 140, 144)),
    "slate": ((72, 82, 98), (58, 66, 82)),
    "sky": ((104, 160, 226), (206, 228, 244)),
    "dusk": ((92, 84, 142), (240, 170, 130)),
    "foliage": ((78, 116, 62), (52, 84, 44)),
}
GREEN = np.array([(112, 168, 72), (44, 96, 42)], float)

Tones = NDArray[np.float64]  # (2, 3), light and deep


def petal_outline(width: float, peak: float, blunt: float, *, notch: float = 0.0, ruffle: float = 0.0) -> Points:
    """A closed outline (25, 2) across and along a petal, from its base (0, 0) to its tip at (0, 1 - notch).

    width: half the greatest width. peak: above 1 the petal is widest towards its tip, below 1 towards its base.
    blunt: below 1 the ends are round, above 1 drawn out. ruffle: how wavy the edge is, from 0 to about 0.2.
    """
    u = np.linspace(0, 1, 13)
    half = width * np.abs(np.sin(np.pi * u**peak)) ** blunt
    wave = ruffle * np.sin(9 * np.pi * u) * u
    edge = np.stack([half * (1 + wave), u + 0.3 * wave], 1)
    edge[-1] = (0, 1 - notch)
    return np.concatenate([edge, edge[-2::-1] * (-1, 1)])


@dataclass(frozen=True)
class Petal:
    """How one petal is drawn: in `layers` from the tone of its tip to the tone of its base, over a dark rim."""

    outline: Points
    tip: NDArray[np.float64]
    base: NDArray[np.float64]
    layers: int = 6
    veins: int = 3


@dataclass(frozen=True)
class Frame:
    """Coordinates in which the head extends from about -1 to 1, y down."""

    turn: NDArray[np.float64]  # (2, 2)
    center: NDArray[np.float64]  # (2,)


class Canvas:
    """An image with its background, the pose of its flower and its light."""

    def __init__(self, background: str, color: str, *, side_view: bool, rng: np.random.Generator) -> None:
        self.rng = rng
        self.side = SIDE * OVERSAMPLING
        self.image = _background(background, self.side, rng)
        self.pen = ImageDraw.Draw(self.image)
        toward = rng.uniform(-2.6, -0.5)  # from above, left or right
        self.light = np.array([np.cos(toward), np.sin(toward)])
        self.tones = self.tint(np.array(COLORS[color], float))
        self.green = self.tint(GREEN)
        lean, spin = rng.normal(0, 0.13), rng.normal(0, 0.05) if side_view else rng.uniform(0, 2 * np.pi)
        foreshortening = np.diag([1, 1 if side_view else rng.uniform(0.68, 1.0)])
        radius = rng.uniform(0.31, 0.38) * self.side
        center = self.side * np.array([0.5 + rng.normal(0, 0.02), 0.44 + rng.normal(0, 0.02)])
        self.upright = self.frame = Frame(radius * np.eye(2), center)
        self.head = Frame(radius * _rotation(lean) @ foreshortening @ _rotation(spin), center)

    def tint(self, tones: Tones, by: float = 10) -> Tones:
        """Varies both tones by the same random amount, and their contrast a little."""
        middle = tones.mean(0)
        apart: Tones = middle + (tones - middle) * self.rng.uniform(0.75, 1.2)
        return apart + self.rng.normal(0, by, 3)

    def fill(self, points: Points, color: NDArray[np.float64]) -> None:
        """Draws a filled outline."""
        self.pen.polygon((points @ self.frame.turn.T + self.frame.center).ravel().tolist(), fill=_rgb(color))

    def stroke(self, points: Points, color: NDArray[np.float64], width: float) -> None:
        """Draws a line whose width is `width` hundredths of the image."""
        line = (points @ self.frame.turn.T + self.frame.center).ravel().tolist()
        self.pen.line(line, fill=_rgb(color), width=max(1, round(width * self.side / 100)), joint="curve")

    def dot(self, point: NDArray[np.float64], color: NDArray[np.float64], radius: float) -> None:
        """Draws a dot whose radius is in hundredths of the image."""
        (x, y), r = self.frame.turn @ point + self.frame.center, radius * self.side / 100
        self.pen.ellipse((x - r, y - r, x + r, y + r), fill=_rgb(color))

    def lit(self, direction: NDArray[np.float64]) -> float:
        """Brightness factor of the part of the head in this direction, about 0.85 to 1.15."""
        seen = self.frame.turn @ direction
        return float(1 + 0.12 * (seen @ self.light) / np.hypot(*seen) + self.rng.normal(0, 0.03))

    def finish(self) -> NDArray[np.uint8]:
        """Returns the image (128, 128, 3), anti-aliased, with its light and a little noise."""
        small = np.asarray(self.image.reduce(OVERSAMPLING), np.float32)
        across = np.linspace(-1, 1, SIDE, dtype=np.float32)
        slope = self.rng.uniform(0.03, 0.12) * (self.light[0] * across + self.light[1] * across[:, None])
        light = (1 + self.rng.normal(0, 0.06) + slope).astype(np.float32)
        noise = self.rng.standard_normal((SIDE, SIDE, 3), np.float32) * 2
        lit: NDArray[np.uint8] = (small * light[..., None] + noise).round().clip(0, 255).astype(np.uint8)
        return lit


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _rgb(color: NDArray[np.float64]) -> Rgb:
    r, g, b = color.clip(0, 255).astype(int).tolist()
    return r, g, b


def _background(name: str, side: int, rng: np.random.Generator) -> Image.Image:
    """Draws a vertical gradient, for foliage with many blurred leaves; at a small size, where blurring is cheap."""
    top, bottom = np.array(TONES[name], float) + rng.normal(0, 4, 3) + rng.normal(0, 7)
    small = 64
    rows = np.linspace(top, bottom, small)[:, None].repeat(small, 1).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(rows)
    if name == "foliage":
        pen = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(40, 80))):
            (x, y), (rx, ry) = rng.uniform(0, small, 2), rng.uniform(2, 9, 2)
            shade = rng.uniform(0.6, 1.5) * bottom + rng.normal(0, 8, 3)
            pen.ellipse((x - rx, y - ry, x + rx, y + ry), fill=_rgb(shade))
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3.5)))
    return image.resize((side, side), Image.Resampling.BILINEAR)


def paint(
    c: Canvas, petal: Petal, angle: float, length: float = 1.0, at: tuple[float, float] = (0, 0), shade: float = 1.0
) -> None:
    """Draws a petal from `at` in the direction `angle`: rim, layers, each smaller than the one below, and veins."""
    along = np.array([np.cos(angle), np.sin(angle)])
    axes = length * np.stack([(-along[1], along[0]), along])  # columns of the outline
    light = shade * c.lit(along)
    c.fill(petal.outline @ axes + at, (petal.tip + petal.base) * 0.36 * light)
    part = np.linspace(0, 1, petal.layers)
    shrunk = petal.outline * np.stack([0.94 - 0.6 * part, 0.97 - 0.5 * part], 1)[:, None]
    tones = light * (petal.tip + (petal.base - petal.tip) * part[:, None])
    for points, color in zip(shrunk @ axes + at, tones, strict=True):
        c.fill(points, color)
    _veins(c, petal, axes, np.array(at), light * 0.86 * (petal.tip + petal.base) / 2)


def _veins(
    c: Canvas, petal: Petal, axes: NDArray[np.float64], at: NDArray[np.float64], color: NDArray[np.float64]
) -> None:
    half = petal.outline[1:10]  # the first half of an outline is its right edge, from the base up
    for share in np.linspace(-0.6, 0.6, petal.veins) if petal.veins > 1 else [0.0] * petal.veins:
        c.stroke(half * (share, 0.95) @ axes + at, color, 0.3)


def ring(
    c: Canvas, petal: Petal, count: int, length: float = 1.0, inset: float = 0.0, shade: float = 1.0, phase: float = 0
) -> None:
    """Draws a ring of petals, every other one below its neighbors, with random offsets of angle and length."""
    for place in [*range(0, count, 2), *range(1, count, 2)]:
        angle = phase + 2 * np.pi * place / count + c.rng.normal(0, 0.12 / np.sqrt(count))
        root = (inset * np.cos(angle), inset * np.sin(angle))
        paint(c, petal, angle, (length - inset) * c.rng.normal(1, 0.035), root, shade * c.rng.normal(1, 0.03))


def disc(c: Canvas, radius: float, tones: Tones, dots: int, grain: float) -> None:
    """Draws the center of a flower: a shaded ball with florets in the spiral of a sunflower."""
    up = np.linalg.inv(c.frame.turn) @ c.light
    up *= radius / np.hypot(*up)
    for part in np.linspace(0, 1, 5):
        x, y = 0.25 * part * up
        size = radius * (1 - 0.7 * part)
        c.fill(oval(x, y, size, size), tones[1] + (tones[0] - tones[1]) * part)
    for k, warm in enumerate(c.rng.uniform(0.2, 1.1, dots)):
        spot = radius * np.sqrt((k + 0.5) / dots) * np.array([np.cos(2.39996 * k), np.sin(2.39996 * k)])
        c.dot(spot, tones[1] + (tones[0] - tones[1]) * warm, grain)


def stamens(
    c: Canvas, count: int, length: float, thread: NDArray[np.float64], anther: NDArray[np.float64], size: float
) -> None:
    """Draws a ring of filaments, each with an anther at its end."""
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False) + c.rng.normal(0, 0.12, count):
        end = length * c.rng.uniform(0.75, 1.1) * np.array([np.cos(angle), np.sin(angle)])
        c.stroke(np.stack([0 * end, end]), thread, 0.5)
        c.dot(end, anther, size)
