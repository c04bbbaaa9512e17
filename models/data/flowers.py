"""Drawn flowers of ten species with captions, all different: 128 x 128 RGB.

Image `i` of a seed depends only on these two numbers, so any part of a set can be drawn anywhere, in any order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import Dataset
from models.data.drawing import Points, drawn_set
from models.data.petals import COLORS, Canvas, Petal, disc, paint, petal_outline, ring, stamens

SPECIES = {  # the natural colors of each species
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
WITH_BLADES = (
    "bluebell",
    "iris",
    "lily",
    "tulip",
)  # with long leaves from the ground; the others have leaves on the stem
BACKGROUNDS = {
    "cream": "on cream",
    "green": "on green",
    "grey": "on grey",
    "slate": "on slate",
    "sky": "under a blue sky",
    "dusk": "at dusk",
    "foliage": "among leaves",
}
YELLOW = np.array([(252, 212, 64), (206, 138, 24)], float)
BROWN = np.array([(126, 76, 34), (48, 28, 18)], float)


@dataclass(frozen=True)
class Flower:
    """Facts of one flower; it can be drawn in any color, and `SPECIES` has the natural ones."""

    species: str
    color: str
    background: str
    leaves: bool

    @property
    def caption(self) -> str:
        """Caption such as "a red tulip with leaves on green"."""
        article = "an" if self.color[0] in "aeiou" else "a"
        return f"{article} {self.color} {self.species}{' with leaves' * self.leaves} {BACKGROUNDS[self.background]}"


def random_flower(rng: np.random.Generator) -> Flower:
    """Draws a species, one of its colors and a background, each uniformly, and leaves with probability 3/4."""
    species = str(rng.choice(list(SPECIES)))
    return Flower(
        species=species,
        color=str(rng.choice(SPECIES[species])),
        background=str(rng.choice(list(BACKGROUNDS))),
        leaves=bool(rng.random() < 0.75),
    )


ATTRIBUTES = (*SPECIES, *COLORS, *(f"{name}_background" for name in BACKGROUNDS), "leaves", "side_view")


def attributes_of(flower: Flower) -> NDArray[np.bool_]:
    """Returns the attributes of a flower, bool, in the order of `ATTRIBUTES`."""
    has = {flower.species, flower.color, f"{flower.background}_background"}
    has |= {"leaves"} if flower.leaves else set()
    has |= {"side_view"} if flower.species in SEEN_FROM_THE_SIDE else set()
    return np.array([name in has for name in ATTRIBUTES])


def flowers(n: int, seed: int = 0, *, start: int = 0, processes: int | None = None) -> Dataset:
    """Draws images `start` to `start + n` of a seed, (n, 128, 128, 3), labeled by species, in `processes` processes."""
    dataset, known = drawn_set(flower, attributes_of, ATTRIBUTES, n=n, seed=seed, start=start, processes=processes)
    names = tuple(SPECIES)
    labels = np.array([names.index(each.species) for each in known], np.int64)
    return replace(dataset, labels=labels, label_names=names)


def flower(seed: int, index: int, **fixed: object) -> tuple[NDArray[np.uint8], Flower]:
    """Draws one flower (128, 128, 3) and returns its facts; `fixed` sets some fields without changing the others."""
    rng = np.random.default_rng([seed, index])
    known = replace(random_flower(rng), **fixed)  # type: ignore[arg-type]
    return draw(known, rng), known


def draw(known: Flower, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws a flower, anti-aliased, (128, 128, 3); pose, petals, tints and light come from `rng`."""
    side_view = known.species in SEEN_FROM_THE_SIDE
    c = Canvas(known.background, known.color, side_view=side_view, rng=rng)
    _stem(c, known)
    c.frame = c.head
    HEADS[known.species](c)
    return c.finish()


def _stem(c: Canvas, known: Flower) -> None:
    """Draws the stem, from below the image to the center of the head, and its leaves."""
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


def _blades(c: Canvas, line: Points) -> None:
    blade = Petal(petal_outline(c.rng.uniform(0.055, 0.085), 0.7, 0.7), c.green[0], c.green[1], 5, 3)
    for side in (-1, 1):
        root = (float(line[0, 0]) + 0.05 * side, 2.0)
        paint(c, blade, -np.pi / 2 + side * c.rng.uniform(0.22, 0.5), c.rng.uniform(1.5, 2.3), root)


def _leaves(c: Canvas, line: Points) -> None:
    width, peak = c.rng.uniform(0.2, 0.3), c.rng.uniform(0.75, 1.0)
    leaf = Petal(petal_outline(width, peak, 0.9, ruffle=0.08), c.green[0], c.green[1], 5, 3)
    for side, place in zip((-1, 1), c.rng.integers(2, 6, 2), strict=True):
        x, y = line[place]
        paint(c, leaf, np.pi / 2 - side * c.rng.uniform(1.3, 2.0), c.rng.uniform(0.6, 0.95), (float(x), float(y)))


def _bluebell(c: Canvas) -> None:
    """Draws bells on both sides of a stem, the lowest the largest."""
    light, deep = c.tones
    half = np.array([(0.0, 0.0), (0.17, 0.04), (0.25, 0.25), (0.26, 0.6), (0.31, 0.82), (0.46, 0.97)])
    mouth = np.array([(0.3, 0.9), (0.15, 1.04), (0.0, 0.92), (-0.15, 1.04), (-0.3, 0.9)])
    bell = Petal(np.concatenate([half, mouth, half[::-1] * (-1, 1)]), light, deep, 6, 0)
    count = int(c.rng.integers(6, 10))
    c.stroke(np.array([(0.0, 0.1), (0.0, -0.9)]), c.green.mean(0), 1.8)
    for place, height in enumerate(np.linspace(-0.95, 0.25, count)):
        side, size = (-1) ** place, 0.36 + 0.28 * place / count
        top = (side * c.rng.uniform(0.16, 0.34), float(height))
        c.stroke(np.array([(0.0, height + 0.12), (side * 0.1, height - 0.04), top]), c.green.mean(0), 0.9)
        paint(c, bell, np.pi / 2 - side * c.rng.uniform(0.2, 0.5), size, top)


def _blossom(c: Canvas) -> None:
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.36, 0.46), c.rng.uniform(1.2, 1.6), 0.7, notch=c.rng.uniform(0.06, 0.2))
    ring(c, Petal(shape, light, (light + 2 * deep) / 3, 8, 5), 5, inset=0.04)
    stamens(c, int(c.rng.integers(11, 18)), 0.4, (light + 255) / 2, YELLOW[0], 0.9)
    disc(c, 0.1, YELLOW, 8, 0.7)


def _dahlia(c: Canvas) -> None:
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.18, 0.25), c.rng.uniform(0.9, 1.3), c.rng.uniform(0.6, 0.9))
    count = int(c.rng.integers(11, 16))
    for row, length in enumerate((1.0, 0.8, 0.6, 0.41, 0.24)):
        ring(c, Petal(shape, light, deep, 4, 1), max(6, count - 2 * row), length, phase=row * 0.21)


def _daisy(c: Canvas) -> None:
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.1, 0.15), c.rng.uniform(1.0, 1.5), 0.5, notch=c.rng.uniform(0, 0.05))
    petal, count = Petal(shape, light, (light + deep) / 2, 4, 2), int(c.rng.integers(11, 20))
    ring(c, petal, count, 0.98, 0.12, 0.9, np.pi / count)
    ring(c, petal, count, 0.98, 0.12)
    disc(c, c.rng.uniform(0.22, 0.32), c.tint(YELLOW), 45, 0.8)


def _iris(c: Canvas) -> None:
    """Draws three upright standards and three hanging falls, each fall with a yellow beard."""
    light, deep = c.tones
    standard = Petal(petal_outline(c.rng.uniform(0.3, 0.38), 1.2, 0.75, ruffle=0.12), light, (light + deep) / 2, 7, 5)
    fall = Petal(petal_outline(c.rng.uniform(0.3, 0.4), 1.6, 0.8, ruffle=0.14), deep, light, 7, 5)
    spread, drop = c.rng.uniform(0.42, 0.6), c.rng.uniform(0.2, 0.6)
    for turn in (0.0, -spread, spread):
        paint(c, standard, -np.pi / 2 + turn, 1.0, (0, 0.1), 0.9 if turn == 0 else 1)
    for angle in (np.pi - drop, drop, np.pi / 2):
        paint(c, fall, angle, 0.95, (0, 0.05))
        beard = np.stack([np.linspace(0.05, 0.42, 6)] * 2, 1) * (np.cos(angle), np.sin(angle)) + (0, 0.05)
        c.stroke(beard, YELLOW[0], 2.2)


def _lily(c: Canvas) -> None:
    """Draws three petals over three others, with a pale midrib and speckles."""
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.2, 0.29), c.rng.uniform(0.8, 1.05), 0.9, ruffle=0.05)
    ring(c, Petal(shape, light, deep, 7, 3), 3, 1.05, shade=0.9)
    ring(c, Petal(shape, light, deep, 7, 3), 3, 1.0, phase=np.pi / 3)
    for turn in np.arange(6) * np.pi / 3:
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        c.stroke(np.stack([0.1 * along, 0.8 * along]), (light + 255) / 2, 0.8)
        for far, wide in c.rng.uniform((0.15, -0.1), (0.5, 0.1), (6, 2)):
            c.dot(far * along + wide * across, deep * 0.6, 0.45)
    disc(c, 0.08, c.green, 0, 0)
    stamens(c, 6, 0.5, c.green[0] + 40, BROWN[0] + (50, 10, 0), 1.5)


def _poppy(c: Canvas) -> None:
    """Draws a few wide crumpled petals, each with a dark blotch, around a green capsule."""
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.52, 0.66), c.rng.uniform(1.3, 1.7), 0.6, ruffle=c.rng.uniform(0.06, 0.14))
    count = int(c.rng.integers(4, 7))
    ring(c, Petal(shape, light, deep, 8, 7), count, 1.02)
    blotch = Petal(petal_outline(0.4, 1.2, 0.7), BROWN[1], BROWN[1] * 0.7, 2, 0)
    ring(c, blotch, count, c.rng.uniform(0.3, 0.42))
    stamens(c, 22, 0.38, BROWN[1], BROWN[1] + 12, 0.9)
    disc(c, 0.15, c.green + 20, 12, 0.5)


def _rose(c: Canvas) -> None:
    """Draws rings of round petals, each turned against the last, darkest where they meet."""
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.5, 0.58), c.rng.uniform(1.5, 1.9), 0.5, notch=c.rng.uniform(-0.04, 0.05))
    phase = c.rng.uniform(1.0, 1.6)
    for row, length in enumerate((1.0, 0.84, 0.67, 0.5, 0.35, 0.22)):
        petal = Petal(shape, light, (light + 3 * deep) / 4, 6, 3 if row < 2 else 0)
        ring(c, petal, 5 if row < 3 else 3, length, shade=1 - 0.035 * row, phase=row * phase)
    t = np.linspace(0, 3.5 * np.pi, 30)
    c.stroke(np.stack([np.cos(t), np.sin(t)], 1) * t[:, None] * 0.012, deep * 0.75, 0.9)


def _sunflower(c: Canvas) -> None:
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.14, 0.19), c.rng.uniform(0.8, 1.0), 0.85)
    petal, count, eye = Petal(shape, light, deep, 4, 2), int(c.rng.integers(13, 20)), c.rng.uniform(0.38, 0.5)
    ring(c, petal, count, 1.06, 0.2, 0.86, np.pi / count)
    ring(c, petal, count, 1.0, 0.2)
    disc(c, eye, c.tint(BROWN, 6), 90, 0.8)


def _tulip(c: Canvas) -> None:
    """Draws a cup: three petals behind, two at the sides, one in front."""
    light, deep = c.tones
    shape = petal_outline(c.rng.uniform(0.25, 0.31), c.rng.uniform(0.7, 0.85), c.rng.uniform(0.55, 0.75))
    petal, spread = Petal(shape, light, deep, 8, 5), c.rng.uniform(0.18, 0.36)
    for turn in (0.5 * spread, -0.5 * spread):
        paint(c, petal, -np.pi / 2 + turn, 1.6, (0, 0.75), 0.78)
    for turn in (-spread, spread):
        paint(c, petal, -np.pi / 2 + turn, 1.65, (0, 0.75), 0.95)
    paint(c, petal, -np.pi / 2 + c.rng.normal(0, 0.05), c.rng.uniform(1.3, 1.5), (0, 0.78), 1.05)


HEADS: dict[str, Callable[[Canvas], None]] = {
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
