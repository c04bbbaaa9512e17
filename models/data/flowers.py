"""Drawn flowers of ten species, painted petal by petal, a caption each, and no two alike: 128 x 128 RGB.

Picture `i` of a seed depends on nothing but the two, so any part of a set can be drawn anywhere, in any order.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from models.data.avatars import Points, Rgb, oval
from models.data.dataset import Dataset

SIDE, OVERSAMPLING = 128, 3
COLOURS = {  # the light and the deep tone of each; a petal runs from one to the other
    "white": ((238, 238, 234), (190, 193, 206)),
    "yellow": ((255, 226, 76), (232, 164, 22)),
    "orange": ((255, 172, 72), (218, 88, 18)),
    "red": ((238, 66, 56), (146, 14, 28)),
    "pink": ((253, 194, 210), (218, 80, 134)),
    "purple": ((190, 132, 218), (96, 44, 148)),
    "blue": ((146, 168, 244), (62, 72, 186)),
}
SPECIES = {  # the colours each grows in
    "bluebell": ("blue", "purple", "pink", "white"),
    "blossom": ("pink", "white"),
    "dahlia": ("red", "purple", "pink", "orange", "white", "yellow"),
    "daisy": ("white", "pink", "yellow"),
    "iris": ("purple", "blue", "white", "yellow"),
    "lily": ("white", "pink", "orange", "yellow"),
    "poppy": ("red", "orange", "pink", "white"),
    "rose": ("red", "pink", "white", "yellow", "orange"),
    "sunflower": ("yellow", "orange", "red"),
    "tulip": ("red", "yellow", "pink", "purple", "orange", "white"),
}
SEEN_FROM_THE_SIDE = ("bluebell", "iris", "tulip")
WITH_BLADES = ("bluebell", "iris", "lily", "tulip")  # long leaves from the ground; the others bear leaves on the stem
BACKGROUNDS = {
    "cream": "on cream",
    "green": "on green",
    "grey": "on grey",
    "slate": "on slate",
    "sky": "under a blue sky",
    "dusk": "at dusk",
    "foliage": "among leaves",
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
YELLOW = np.array([(252, 212, 64), (206, 138, 24)], float)
BROWN = np.array([(126, 76, 34), (48, 28, 18)], float)

Tones = NDArray[np.float64]  # (2, 3), light and deep


@dataclass(frozen=True)
class Flower:
    """What is known of one picture; any colour can be drawn, `SPECIES` says which a species grows in."""

    species: str
    colour: str
    background: str
    leaves: bool

    @property
    def caption(self) -> str:
        """A sentence part such as "a red tulip with leaves on green"."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        return f"{article} {self.colour} {self.species}{' with leaves' * self.leaves} {BACKGROUNDS[self.background]}"


def random_flower(rng: np.random.Generator) -> Flower:
    """A species, one of its colours, a background and leaves, each drawn evenly but the leaves, at three in four."""
    species = str(rng.choice(list(SPECIES)))
    return Flower(
        species=species,
        colour=str(rng.choice(SPECIES[species])),
        background=str(rng.choice(list(BACKGROUNDS))),
        leaves=bool(rng.random() < 0.75),
    )


ATTRIBUTES = (*SPECIES, *COLOURS, *(f"{name}_background" for name in BACKGROUNDS), "leaves", "side_view")


def attributes_of(flower: Flower) -> NDArray[np.bool_]:
    """The flower as a row of an attribute table whose columns are `ATTRIBUTES`."""
    has = {flower.species, flower.colour, f"{flower.background}_background"}
    has |= {"leaves"} if flower.leaves else set()
    has |= {"side_view"} if flower.species in SEEN_FROM_THE_SIDE else set()
    return np.array([name in has for name in ATTRIBUTES])


def flowers(n: int, seed: int = 0, *, start: int = 0, processes: int | None = None) -> Dataset:
    """Pictures `start` to `start + n` of a seed, (n, 128, 128, 3), labelled by species; drawn by `processes`."""
    indices = range(start, start + n)
    with ProcessPoolExecutor(processes) as pool:
        drawn = list(pool.map(flower, repeat(seed), indices, chunksize=32))
    names = tuple(SPECIES)
    return Dataset(
        images=np.stack([image for image, _ in drawn]),
        labels=np.array([names.index(known.species) for _, known in drawn], np.int64),
        label_names=names,
        attributes=np.stack([attributes_of(known) for _, known in drawn]),
        attribute_names=ATTRIBUTES,
        captions=tuple(known.caption for _, known in drawn),
    )


def flower(seed: int, index: int, **fixed: object) -> tuple[NDArray[np.uint8], Flower]:
    """The picture (128, 128, 3) of one flower and what is known of it; `fixed` sets fields and leaves the rest."""
    rng = np.random.default_rng([seed, index])
    known = replace(random_flower(rng), **fixed)  # type: ignore[arg-type]
    return draw(known, rng), known


def draw(known: Flower, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Such a flower, anti-aliased, (128, 128, 3); pose, petals, tints and light come from `rng`."""
    c = _Canvas(known, rng)
    _stem(c, known)
    c.frame = c.head
    HEADS[known.species](c)
    return c.finish()


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
class _Petal:
    """How one petal is painted: in `layers` from the tone of its tip, over a dark rim, to the tone of its base."""

    outline: Points
    tip: NDArray[np.float64]
    base: NDArray[np.float64]
    layers: int = 6
    veins: int = 3


@dataclass(frozen=True)
class _Frame:
    """Coordinates in which a head reaches from about -1 to 1, y down."""

    turn: NDArray[np.float64]  # (2, 2)
    centre: NDArray[np.float64]  # (2,)


class _Canvas:
    """A picture with its background, the pose of its flower and its light."""

    def __init__(self, known: Flower, rng: np.random.Generator) -> None:
        self.rng = rng
        self.side = SIDE * OVERSAMPLING
        self.image = _background(known.background, self.side, rng)
        self.pen = ImageDraw.Draw(self.image)
        toward = rng.uniform(-2.6, -0.5)  # from above, left or right
        self.light = np.array([np.cos(toward), np.sin(toward)])
        self.tones = self.tint(np.array(COLOURS[known.colour], float))
        self.green = self.tint(GREEN)
        side_view = known.species in SEEN_FROM_THE_SIDE
        lean, spin = rng.normal(0, 0.13), rng.normal(0, 0.05) if side_view else rng.uniform(0, 2 * np.pi)
        foreshortening = np.diag([1, 1 if side_view else rng.uniform(0.68, 1.0)])
        radius = rng.uniform(0.31, 0.38) * self.side
        centre = self.side * np.array([0.5 + rng.normal(0, 0.02), 0.44 + rng.normal(0, 0.02)])
        self.upright = self.frame = _Frame(radius * np.eye(2), centre)
        self.head = _Frame(radius * _rotation(lean) @ foreshortening @ _rotation(spin), centre)

    def tint(self, tones: Tones, by: float = 10) -> Tones:
        """The tones with a little of chance in them, the same for both, and a little in how far they lie apart."""
        middle = tones.mean(0)
        apart: Tones = middle + (tones - middle) * self.rng.uniform(0.75, 1.2)
        return apart + self.rng.normal(0, by, 3)

    def fill(self, points: Points, colour: NDArray[np.float64]) -> None:
        self.pen.polygon((points @ self.frame.turn.T + self.frame.centre).ravel().tolist(), fill=_rgb(colour))

    def stroke(self, points: Points, colour: NDArray[np.float64], width: float) -> None:
        """A line `width` hundredths of the picture wide."""
        line = (points @ self.frame.turn.T + self.frame.centre).ravel().tolist()
        self.pen.line(line, fill=_rgb(colour), width=max(1, round(width * self.side / 100)), joint="curve")

    def dot(self, point: NDArray[np.float64], colour: NDArray[np.float64], radius: float) -> None:
        """A round dot whose radius is in hundredths of the picture."""
        (x, y), r = self.frame.turn @ point + self.frame.centre, radius * self.side / 100
        self.pen.ellipse((x - r, y - r, x + r, y + r), fill=_rgb(colour))

    def lit(self, direction: NDArray[np.float64]) -> float:
        """How bright a part of the head is that lies in this direction, about 0.85 to 1.15."""
        seen = self.frame.turn @ direction
        return float(1 + 0.12 * (seen @ self.light) / np.hypot(*seen) + self.rng.normal(0, 0.03))

    def finish(self) -> NDArray[np.uint8]:
        small = np.asarray(self.image.reduce(OVERSAMPLING), np.float32)
        across = np.linspace(-1, 1, SIDE, dtype=np.float32)
        slope = self.rng.uniform(0.03, 0.12) * (self.light[0] * across + self.light[1] * across[:, None])
        light = (1 + self.rng.normal(0, 0.06) + slope).astype(np.float32)
        noise = self.rng.standard_normal((SIDE, SIDE, 3), np.float32) * 2
        lit: NDArray[np.uint8] = (small * light[..., None] + noise).round().clip(0, 255).astype(np.uint8)
        return lit


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _rgb(colour: NDArray[np.float64]) -> Rgb:
    r, g, b = colour.clip(0, 255).astype(int).tolist()
    return r, g, b


def _background(name: str, side: int, rng: np.random.Generator) -> Image.Image:
    """A gradient from top to bottom, and for foliage many leaves out of focus; drawn small, where blurring is cheap."""
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


def _paint(
    c: _Canvas, petal: _Petal, angle: float, length: float = 1.0, at: tuple[float, float] = (0, 0), shade: float = 1.0
) -> None:
    """A petal from `at` in the direction `angle`: its rim, its layers, each smaller than the one below, its veins."""
    along = np.array([np.cos(angle), np.sin(angle)])
    axes = length * np.stack([(-along[1], along[0]), along])  # of the outline's two columns
    light = shade * c.lit(along)
    c.fill(petal.outline @ axes + at, (petal.tip + petal.base) * 0.36 * light)
    part = np.linspace(0, 1, petal.layers)
    shrunk = petal.outline * np.stack([0.94 - 0.6 * part, 0.97 - 0.5 * part], 1)[:, None]
    tones = light * (petal.tip + (petal.base - petal.tip) * part[:, None])
    for points, colour in zip(shrunk @ axes + at, tones, strict=True):
        c.fill(points, colour)
    _veins(c, petal, axes, np.array(at), light * 0.86 * (petal.tip + petal.base) / 2)


def _veins(
    c: _Canvas, petal: _Petal, axes: NDArray[np.float64], at: NDArray[np.float64], colour: NDArray[np.float64]
) -> None:
    half = petal.outline[1:10]  # the first half of an outline is its right edge, from the base up
    for share in np.linspace(-0.6, 0.6, petal.veins) if petal.veins > 1 else [0.0] * petal.veins:
        c.stroke(half * (share, 0.95) @ axes + at, colour, 0.3)


def _ring(
    c: _Canvas, petal: _Petal, count: int, length: float = 1.0, inset: float = 0.0, shade: float = 1.0, phase: float = 0
) -> None:
    """Petals all around, every other one below its neighbours; none quite in its place or of its length."""
    for place in [*range(0, count, 2), *range(1, count, 2)]:
        angle = phase + 2 * np.pi * place / count + c.rng.normal(0, 0.12 / np.sqrt(count))
        root = (inset * np.cos(angle), inset * np.sin(angle))
        _paint(c, petal, angle, (length - inset) * c.rng.normal(1, 0.035), root, shade * c.rng.normal(1, 0.03))


def _disc(c: _Canvas, radius: float, tones: Tones, dots: int, grain: float) -> None:
    """The middle of a flower: a ball in the light, its florets in the spiral of a sunflower's."""
    up = np.linalg.inv(c.frame.turn) @ c.light
    up *= radius / np.hypot(*up)
    for part in np.linspace(0, 1, 5):
        x, y = 0.25 * part * up
        size = radius * (1 - 0.7 * part)
        c.fill(oval(x, y, size, size), tones[1] + (tones[0] - tones[1]) * part)
    for k, warm in enumerate(c.rng.uniform(0.2, 1.1, dots)):
        spot = radius * np.sqrt((k + 0.5) / dots) * np.array([np.cos(2.39996 * k), np.sin(2.39996 * k)])
        c.dot(spot, tones[1] + (tones[0] - tones[1]) * warm, grain)


def _stamens(
    c: _Canvas, count: int, length: float, thread: NDArray[np.float64], anther: NDArray[np.float64], size: float
) -> None:
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False) + c.rng.normal(0, 0.12, count):
        end = length * c.rng.uniform(0.75, 1.1) * np.array([np.cos(angle), np.sin(angle)])
        c.stroke(np.stack([0 * end, end]), thread, 0.5)
        c.dot(end, anther, size)


def _stem(c: _Canvas, known: Flower) -> None:
    """The stem, from below the picture to the middle of the head, and its leaves."""
    c.frame = c.upright
    foot, bend = c.rng.normal(0, 0.22), c.rng.normal(0, 0.12)
    t = np.linspace(0, 1, 12)[:, None]
    line = (1 - t) ** 2 * (foot, 2.0) + 2 * t * (1 - t) * (bend, 1.0) + t**2 * (0, 0.05)
    width = c.rng.uniform(1.8, 2.8)
    c.stroke(line, c.green[1] * 0.8, width + 0.8)
    c.stroke(line, c.green.mean(0), width)
    c.stroke(line + 0.02 * c.light, c.green[0], width * 0.3)
    if known.leaves:
        (_blades if known.species in WITH_BLADES else _leaves)(c, line)


def _blades(c: _Canvas, line: Points) -> None:
    blade = _Petal(petal_outline(c.rng.uniform(0.055, 0.085), 0.7, 0.7), c.green[0], c.green[1], 5, 3)
    for side in (-1, 1):
        root = (float(line[0, 0]) + 0.05 * side, 2.0)
        _paint(c, blade, -np.pi / 2 + side * c.rng.uniform(0.22, 0.5), c.rng.uniform(1.5, 2.3), root)


def _leaves(c: _Canvas, line: Points) -> None:
    width, peak = c.rng.uniform(0.2, 0.3), c.rng.uniform(0.75, 1.0)
    leaf = _Petal(petal_outline(width, peak, 0.9, ruffle=0.08), c.green[0], c.green[1], 5, 3)
    for side, place in zip((-1, 1), c.rng.integers(2, 6, 2), strict=True):
        x, y = line[place]
        _paint(c, leaf, np.pi / 2 - side * c.rng.uniform(1.3, 2.0), c.rng.uniform(0.6, 0.95), (float(x), float(y)))


def _bluebell(c: _Canvas) -> None:
    """Bells on the two sides of a stem, the lowest the largest."""
    light, deep = c.tones
    half = np.array([(0.0, 0.0), (0.17, 0.04), (0.25, 0.25), (0.26, 0.6), (0.31, 0.82), (0.46, 0.97)])
    mouth = np.array([(0.3, 0.9), (0.15, 1.04), (0.0, 0.92), (-0.15, 1.04), (-0.3, 0.9)])
    bell = _Petal(np.concatenate([half, mouth, half[::-1] * (-1, 1)]), light, deep, 6, 0)
    count = int(c.rng.integers(6, 10))
    c.stroke(np.array([(0.0, 0.1), (0.0, -0.9)]), c.green.mean(0), 1.8)
    for place, height in enumerate(np.linspace(-0.95, 0.25, count)):
        side, size = (-1) ** place, 0.36 + 0.28 * place / count
        top = (side * c.rng.uniform(0.16, 0.34), float(height))
        c.stroke(np.array([(0.0, height + 0.12), (side * 0.1, height - 0.04), top]), c.green.mean(0), 0.9)
        _paint(c, bell, np.pi / 2 - side * c.rng.uniform(0.2, 0.5), size, top)


def _blossom(c: _Canvas) -> None:
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.36, 0.46), c.rng.uniform(1.2, 1.6), 0.7, notch=c.rng.uniform(0.06, 0.2))
    _ring(c, _Petal(shape, light, (light + 2 * deep) / 3, 8, 5), 5, inset=0.04)
    _stamens(c, int(c.rng.integers(11, 18)), 0.4, (light + 255) / 2, YELLOW[0], 0.9)
    _disc(c, 0.1, YELLOW, 8, 0.7)


def _dahlia(c: _Canvas) -> None:
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.18, 0.25), c.rng.uniform(0.9, 1.3), c.rng.uniform(0.6, 0.9))
    count = int(c.rng.integers(11, 16))
    for row, length in enumerate((1.0, 0.8, 0.6, 0.41, 0.24)):
        _ring(c, _Petal(shape, light, deep, 4, 1), max(6, count - 2 * row), length, phase=row * 0.21)


def _daisy(c: _Canvas) -> None:
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.1, 0.15), c.rng.uniform(1.0, 1.5), 0.5, notch=c.rng.uniform(0, 0.05))
    petal, count = _Petal(shape, light, (light + deep) / 2, 4, 2), int(c.rng.integers(11, 20))
    _ring(c, petal, count, 0.98, 0.12, 0.9, np.pi / count)
    _ring(c, petal, count, 0.98, 0.12)
    _disc(c, c.rng.uniform(0.22, 0.32), c.tint(YELLOW), 45, 0.8)


def _iris(c: _Canvas) -> None:
    """Three standards that rise and three falls that hang, each fall with its yellow beard."""
    light, deep = c.tones
    standard = _Petal(petal_outline(c.rng.uniform(0.3, 0.38), 1.2, 0.75, ruffle=0.12), light, (light + deep) / 2, 7, 5)
    fall = _Petal(petal_outline(c.rng.uniform(0.3, 0.4), 1.6, 0.8, ruffle=0.14), deep, light, 7, 5)
    spread, drop = c.rng.uniform(0.42, 0.6), c.rng.uniform(0.2, 0.6)
    for turn in (0.0, -spread, spread):
        _paint(c, standard, -np.pi / 2 + turn, 1.0, (0, 0.1), 0.9 if turn == 0 else 1)
    for angle in (np.pi - drop, drop, np.pi / 2):
        _paint(c, fall, angle, 0.95, (0, 0.05))
        beard = np.stack([np.linspace(0.05, 0.42, 6)] * 2, 1) * (np.cos(angle), np.sin(angle)) + (0, 0.05)
        c.stroke(beard, YELLOW[0], 2.2)


def _lily(c: _Canvas) -> None:
    """Three petals over three, with a pale midrib and speckles."""
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.2, 0.29), c.rng.uniform(0.8, 1.05), 0.9, ruffle=0.05)
    _ring(c, _Petal(shape, light, deep, 7, 3), 3, 1.05, shade=0.9)
    _ring(c, _Petal(shape, light, deep, 7, 3), 3, 1.0, phase=np.pi / 3)
    for turn in np.arange(6) * np.pi / 3:
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        c.stroke(np.stack([0.1 * along, 0.8 * along]), (light + 255) / 2, 0.8)
        for far, wide in c.rng.uniform((0.15, -0.1), (0.5, 0.1), (6, 2)):
            c.dot(far * along + wide * across, deep * 0.6, 0.45)
    _disc(c, 0.08, c.green, 0, 0)
    _stamens(c, 6, 0.5, c.green[0] + 40, BROWN[0] + (50, 10, 0), 1.5)


def _poppy(c: _Canvas) -> None:
    """A few wide crumpled petals, each with a dark blotch, around a green capsule."""
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.52, 0.66), c.rng.uniform(1.3, 1.7), 0.6, ruffle=c.rng.uniform(0.06, 0.14))
    count = int(c.rng.integers(4, 7))
    _ring(c, _Petal(shape, light, deep, 8, 7), count, 1.02)
    blotch = _Petal(petal_outline(0.4, 1.2, 0.7), BROWN[1], BROWN[1] * 0.7, 2, 0)
    _ring(c, blotch, count, c.rng.uniform(0.3, 0.42))
    _stamens(c, 22, 0.38, BROWN[1], BROWN[1] + 12, 0.9)
    _disc(c, 0.15, c.green + 20, 12, 0.5)


def _rose(c: _Canvas) -> None:
    """Round petals within round petals, each row turned against the last, darkest where they meet."""
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.5, 0.58), c.rng.uniform(1.5, 1.9), 0.5, notch=c.rng.uniform(-0.04, 0.05))
    phase = c.rng.uniform(1.0, 1.6)
    for row, length in enumerate((1.0, 0.84, 0.67, 0.5, 0.35, 0.22)):
        petal = _Petal(shape, light, (light + 3 * deep) / 4, 6, 3 if row < 2 else 0)
        _ring(c, petal, 5 if row < 3 else 3, length, shade=1 - 0.035 * row, phase=row * phase)
    t = np.linspace(0, 3.5 * np.pi, 30)
    c.stroke(np.stack([np.cos(t), np.sin(t)], 1) * t[:, None] * 0.012, deep * 0.75, 0.9)


def _sunflower(c: _Canvas) -> None:
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.14, 0.19), c.rng.uniform(0.8, 1.0), 0.85)
    petal, count, disc = _Petal(shape, light, deep, 4, 2), int(c.rng.integers(13, 20)), c.rng.uniform(0.38, 0.5)
    _ring(c, petal, count, 1.06, 0.2, 0.86, np.pi / count)
    _ring(c, petal, count, 1.0, 0.2)
    _disc(c, disc, c.tint(BROWN, 6), 90, 0.8)


def _tulip(c: _Canvas) -> None:
    """A cup: three petals behind, two at the sides, one in front."""
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.25, 0.31), c.rng.uniform(0.7, 0.85), c.rng.uniform(0.55, 0.75))
    petal, spread = _Petal(shape, light, deep, 8, 5), c.rng.uniform(0.18, 0.36)
    for turn in (0.5 * spread, -0.5 * spread):
        _paint(c, petal, -np.pi / 2 + turn, 1.6, (0, 0.75), 0.78)
    for turn in (-spread, spread):
        _paint(c, petal, -np.pi / 2 + turn, 1.65, (0, 0.75), 0.95)
    _paint(c, petal, -np.pi / 2 + c.rng.normal(0, 0.05), c.rng.uniform(1.3, 1.5), (0, 0.78), 1.05)


HEADS: dict[str, Callable[[_Canvas], None]] = {
    "bluebell": _bluebell,
    "blossom": _blossom,
    "dahlia": _dahlia,
    "daisy": _daisy,
    "iris": _iris,
    "lily": _lily,
    "poppy": _poppy,
    "rose": _rose,
    "sunflower": _sunflower,
    "tulip": _tulip,
}
