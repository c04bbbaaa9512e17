"""Drawn round faces with five expressions, all different: 64 x 64 RGB.

Image `i` of a seed depends only on these two numbers, so any part of a set can be drawn anywhere, in any order.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.data.dataset import Dataset
from models.data.drawing import Points, Rgb, drawn_set, oval

SIDE, OVERSAMPLING = 64, 4
EXPRESSIONS = ("smiling", "neutral", "frowning", "surprised", "winking")
COLORS = {
    "yellow": (252, 208, 56),
    "orange": (246, 150, 58),
    "green": (132, 200, 92),
    "blue": (110, 172, 236),
    "pink": (246, 150, 182),
}
BACKGROUNDS = {
    "white": (240, 240, 236),
    "grey": (150, 154, 160),
    "navy": (40, 50, 92),
    "teal": (60, 132, 130),
    "lilac": (196, 178, 222),
}
INK = (52, 34, 26)


@dataclass(frozen=True)
class Smiley:
    """Facts of one face; sizes are relative to its radius, which is relative to half of the image."""

    expression: str
    color: str
    background: str
    x: float  # of the center, from -1 to 1 over the image; as is y
    y: float
    radius: float
    tilt: float  # radians, clockwise
    eye_gap: float
    eye_size: float
    openness: float  # of the eyes, from 0 (shut) to about 1.3 (taller than wide)
    curvature: float  # of the mouth, above 0 where its corners rise
    mouth_width: float
    mouth_open: float

    @property
    def caption(self) -> str:
        """Caption such as "a winking yellow face on navy"."""
        article = "an" if self.expression[0] in "aeiou" else "a"
        return f"{article} {self.expression} {self.color} face on {self.background}"


def random_smiley(rng: np.random.Generator, expression: str | None = None) -> Smiley:
    """Draws the facts of a face: a uniform expression unless given, yellow for six in ten, all else continuous."""
    drawn = str(rng.choice(EXPRESSIONS))  # always drawn, so that the other facts do not depend on it
    expression = expression or drawn
    color = "yellow" if rng.random() < 0.6 else str(rng.choice(list(COLORS)[1:]))
    x, y = rng.normal(0, 0.05, 2).clip(-0.12, 0.12).tolist()
    features = _features(expression, rng)
    return Smiley(
        expression=expression,
        color=color,
        background=str(rng.choice(list(BACKGROUNDS))),
        x=x,
        y=y,
        radius=float(rng.uniform(0.66, 0.84)),
        tilt=float(rng.normal(0, 0.1)),
        eye_gap=float(rng.uniform(0.3, 0.44)),
        eye_size=float(rng.uniform(0.11, 0.17)),
        openness=features["openness"],
        curvature=features["curvature"],
        mouth_width=features["mouth_width"],
        mouth_open=features["mouth_open"],
    )


def _features(expression: str, rng: np.random.Generator) -> dict[str, float]:
    """Draws eyes and mouth of an expression; expressions with a line for a mouth have separate ranges of curvature."""
    at, laughs = rng.random(4), rng.random() < 0.35
    curvatures = {"smiling": (0.14, 0.4), "frowning": (-0.38, -0.14), "winking": (0.08, 0.32)}
    surprised = expression == "surprised"
    ranges = np.array(
        [
            (1.15, 1.6) if surprised else (0.6, 1.25),
            curvatures.get(expression, (-0.04, 0.04)),
            (0.14, 0.26) if surprised else (0.34, 0.56),
            (0.8, 1.5) if surprised or (laughs and expression in ("smiling", "winking")) else (0.0, 0.0),
        ]
    )
    values = ranges[:, 0] + at * (ranges[:, 1] - ranges[:, 0])
    return dict(zip(("openness", "curvature", "mouth_width", "mouth_open"), values.tolist(), strict=True))


ATTRIBUTES = (
    *EXPRESSIONS,
    *(f"{color}_face" for color in COLORS),
    *(f"{color}_background" for color in BACKGROUNDS),
    *("open_mouth", "large", "tilted_left"),
)


def attributes_of(face: Smiley) -> NDArray[np.bool_]:
    """Returns the attributes of a face, bool, in the order of `ATTRIBUTES`."""
    has = {face.expression, f"{face.color}_face", f"{face.background}_background"}
    flags = {"open_mouth": face.mouth_open > 0, "large": face.radius > 0.75, "tilted_left": face.tilt < 0}
    has |= {name for name, flag in flags.items() if flag}
    return np.array([name in has for name in ATTRIBUTES])


def smileys(n: int, seed: int = 0, *, start: int = 0, processes: int | None = None) -> Dataset:
    """Draws images `start` to `start + n` of a seed, (n, 64, 64, 3), labeled by expression."""
    dataset, faces = drawn_set(smiley, attributes_of, ATTRIBUTES, n=n, seed=seed, start=start, processes=processes)
    labels = np.array([EXPRESSIONS.index(face.expression) for face in faces], np.int64)
    return replace(dataset, labels=labels, label_names=EXPRESSIONS)


def smiley(seed: int, index: int, expression: str | None = None, **fixed: object) -> tuple[NDArray[np.uint8], Smiley]:
    """Draws one face (64, 64, 3) and returns its facts; `expression` and `fixed` do not change the other fields."""
    rng = np.random.default_rng([seed, index])
    face = replace(random_smiley(rng, expression), **fixed)  # type: ignore[arg-type]
    return draw(face, rng), face


def draw(face: Smiley, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws a face, anti-aliased, (64, 64, 3); only tints, light and noise come from `rng`."""
    c = _Canvas(face, rng)
    _head(c, face)
    for side in (-1, 1):
        _eye(c, face, side)
    _mouth(c, face)
    return c.finish()


class _Canvas:
    """An image in the coordinates of a face: it is the unit circle, y down, whatever its pose."""

    def __init__(self, face: Smiley, rng: np.random.Generator) -> None:
        self.rng = rng
        side = SIDE * OVERSAMPLING
        self.image = Image.new("RGB", (side, side), self.tint(BACKGROUNDS[face.background], 6))
        self.pen = ImageDraw.Draw(self.image)
        cos, sin = np.cos(face.tilt), np.sin(face.tilt)
        self.scale = face.radius * side / 2
        self.turn = self.scale * np.array([[cos, -sin], [sin, cos]])
        self.center = side / 2 * np.array([1 + face.x, 1 + face.y])
        self.color = self.tint(COLORS[face.color])

    def tint(self, color: Rgb, by: float = 9) -> Rgb:
        r, g, b = (np.array(color) + self.rng.normal(0, by, 3)).clip(0, 255).astype(int).tolist()
        return r, g, b

    def fill(self, points: Points, color: Rgb) -> None:
        self.pen.polygon((points @ self.turn.T + self.center).ravel().tolist(), fill=color)

    def stroke(self, points: Points, width: float) -> None:
        """Draws a line of ink of `width` in radii, with round ends."""
        line, pixels = points @ self.turn.T + self.center, max(1, round(width * self.scale))
        self.pen.line(line.ravel().tolist(), fill=INK, width=pixels, joint="curve")
        for x, y in (line[0], line[-1]):
            self.pen.ellipse((x - pixels / 2, y - pixels / 2, x + pixels / 2, y + pixels / 2), fill=INK)

    def finish(self) -> NDArray[np.uint8]:
        small = np.asarray(self.image.reduce(OVERSAMPLING), np.float32)
        noise = self.rng.standard_normal((SIDE, SIDE, 3), np.float32) * 1.5
        return (small * self.rng.normal(1, 0.05) + noise).round().clip(0, 255).astype(np.uint8)


def _head(c: _Canvas, face: Smiley) -> None:
    r, g, b = c.color
    c.fill(oval(0, 0, 1, 1), (int(r * 0.72), int(g * 0.68), int(b * 0.62)))
    c.fill(oval(0, 0, 0.95, 0.95), c.color)


def _eye(c: _Canvas, face: Smiley, side: int) -> None:
    x, y, size = side * face.eye_gap, -0.26, face.eye_size
    if face.expression == "winking" and side > 0:
        t = np.linspace(-1, 1, 11)
        c.stroke(np.stack([x + 1.3 * size * t, y - 0.06 * (1 - t**2)], 1), 0.085)
    else:
        c.fill(oval(x, y, size, max(0.03, size * face.openness)), INK)


def _mouth(c: _Canvas, face: Smiley) -> None:
    """Draws the mouth: an oval for surprise, a half moon for laughter, otherwise a parabola."""
    y, half, t = 0.42, face.mouth_width, np.linspace(-1, 1, 15)
    if face.expression == "surprised":
        c.fill(oval(0, y, half, half * face.mouth_open), INK)
        return
    curve = np.stack([half * t, y + face.curvature * (0.5 - t**2)], 1)
    if face.mouth_open > 0:
        c.fill(curve + (0, 0.15 * face.mouth_open) * np.sqrt(1 - t[:, None] ** 2), INK)
    c.stroke(curve, 0.085)
