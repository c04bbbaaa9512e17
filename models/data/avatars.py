"""Drawn faces with attributes like those of CelebA and captions, all different: 64 x 64 RGB, or larger.

Image `i` of a seed depends only on these two numbers, so any part of a set can be drawn anywhere, in any order. A
larger drawing shows the same face and has the same caption.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.data.dataset import Dataset
from models.data.drawing import Points, Rgb, drawn_set, oval

SIDE, OVERSAMPLING = 64, 4
LARGE_SIDE = 256
EXPRESSIONS = ("neutral", "smiling", "frowning", "surprised")
HAIR_LENGTHS = ("short", "long")
HAIR = {
    "black": (34, 28, 30),
    "brown": (98, 62, 38),
    "blond": (222, 184, 104),
    "red": (178, 76, 34),
    "grey": (158, 158, 162),
}
SKIN = {"pale": (246, 216, 196), "tan": (222, 174, 134), "brown": (164, 112, 76), "dark": (104, 68, 48)}
HATS = {
    "red": (204, 44, 48),
    "blue": (48, 92, 200),
    "green": (46, 146, 82),
    "yellow": (240, 200, 52),
    "purple": (130, 70, 168),
}
BACKGROUNDS = {
    "white": (238, 238, 234),
    "blue": (150, 190, 226),
    "green": (168, 208, 160),
    "pink": (240, 186, 194),
    "grey": (132, 136, 144),
}

# Attributes that a caption may omit, and the share that mentions them; hats and glasses are always mentioned.
MENTIONABLE = {"expression": 0.85, "skin": 0.6, "hair": 0.8, "background": 0.6}


@dataclass(frozen=True)
class Face:
    """Attributes of a face; `hat` is a color or None, `mentioned` the part of `MENTIONABLE` that is in its caption."""

    woman: bool
    glasses: bool
    mustache: bool
    hat: str | None
    expression: str
    hair_length: str
    hair: str
    skin: str
    background: str
    mentioned: frozenset[str] = frozenset(MENTIONABLE)

    @property
    def caption(self) -> str:
        """Caption such as "a smiling woman with pale skin, glasses and a red hat on a blue background"."""
        has = [f"{self.skin} skin"] * ("skin" in self.mentioned)
        has += [f"{self.hair_length} {self.hair} hair"] * ("hair" in self.mentioned)
        has += ["glasses"] * self.glasses + ["a mustache"] * self.mustache
        has += [f"a {self.hat} hat"] if self.hat else []
        words = ["a", *[self.expression] * ("expression" in self.mentioned), "woman" if self.woman else "man"]
        words += ["with", ", ".join(has[:-1]) + " and " * (len(has) > 1) + has[-1]] if has else []
        words += [f"on a {self.background} background"] * ("background" in self.mentioned)
        return " ".join(words)


def random_face(rng: np.random.Generator) -> Face:
    """Draws attributes independently, except hair length and mustache, which depend on the sex as in CelebA."""
    woman = bool(rng.random() < 0.5)
    return Face(
        woman=woman,
        glasses=bool(rng.random() < 0.4),
        mustache=not woman and bool(rng.random() < 0.4),
        hat=str(rng.choice(list(HATS))) if rng.random() < 0.35 else None,
        expression=str(rng.choice(EXPRESSIONS)),
        hair_length="long" if rng.random() < (0.65 if woman else 0.2) else "short",
        hair=str(rng.choice(list(HAIR))),
        skin=str(rng.choice(list(SKIN))),
        background=str(rng.choice(list(BACKGROUNDS))),
    )


ATTRIBUTES = (
    *("woman", "glasses", "mustache", "hat", "long_hair"),
    *EXPRESSIONS,
    *(f"{color}_hair" for color in HAIR),
    *(f"{color}_skin" for color in SKIN),
    *(f"{color}_hat" for color in HATS),
    *(f"{color}_background" for color in BACKGROUNDS),
)


def attributes_of(face: Face) -> NDArray[np.bool_]:
    """Returns the attributes of a face, bool, in the order of `ATTRIBUTES`."""
    has = {
        face.expression,
        f"{face.hair}_hair",
        f"{face.skin}_skin",
        f"{face.hat}_hat",
        f"{face.background}_background",
    }
    flags = {"woman": face.woman, "glasses": face.glasses, "mustache": face.mustache, "hat": face.hat is not None}
    has |= {name for name, flag in flags.items() if flag} | ({"long_hair"} if face.hair_length == "long" else set())
    return np.array([name in has for name in ATTRIBUTES])


def avatars(n: int, seed: int = 0, *, start: int = 0, processes: int | None = None) -> Dataset:
    """Draws images `start` to `start + n` of a seed, by default with one process per core."""
    dataset, _ = drawn_set(avatar, attributes_of, ATTRIBUTES, n=n, seed=seed, start=start, processes=processes)
    return dataset


def large_avatars(n: int, seed: int = 0, *, start: int = 0, processes: int | None = None) -> Dataset:
    """Draws the same faces as `avatars`, 256 x 256."""
    dataset, _ = drawn_set(large_avatar, attributes_of, ATTRIBUTES, n=n, seed=seed, start=start, processes=processes)
    return dataset


def large_avatar(seed: int, index: int) -> tuple[NDArray[np.uint8], Face]:
    """Draws the same face as `avatar`, (256, 256, 3)."""
    return _drawn(seed, index, LARGE_SIDE, {})


def avatar(seed: int, index: int, **fixed: object) -> tuple[NDArray[np.uint8], Face]:
    """Draws one avatar (64, 64, 3) and returns its attributes; `fixed` sets some without changing the others."""
    return _drawn(seed, index, SIDE, fixed)


def _drawn(seed: int, index: int, side: int, fixed: Mapping[str, object]) -> tuple[NDArray[np.uint8], Face]:
    rng = np.random.default_rng([seed, index])
    face = replace(random_face(rng), **fixed)  # type: ignore[arg-type]
    image = draw(face, rng, side)
    mentioned = frozenset(part for part, share in MENTIONABLE.items() if rng.random() < share)
    return image, replace(face, mentioned=mentioned)


def draw(face: Face, rng: np.random.Generator, side: int = SIDE) -> NDArray[np.uint8]:
    """Draws a face with these attributes, anti-aliased; pose, proportions, tints and light come from `rng`.

    A side above 64 leaves out the grain of the image, which is of its pixels and not of the face.
    """
    canvas = _Canvas(face, rng, side)
    for paint in LAYERS:
        paint(canvas, face)
    return canvas.finish()


class _Canvas:
    """An image in the coordinates of a face: the head extends from about -1 to 1 in any pose."""

    def __init__(self, face: Face, rng: np.random.Generator, side: int) -> None:
        self.rng = rng
        self.finished_side, self.side = side, side * OVERSAMPLING
        self.image = Image.new("RGB", (self.side, self.side))
        self.pen = ImageDraw.Draw(self.image)
        angle, scale = rng.normal(0, 0.07), rng.uniform(0.59, 0.67) * self.side / 2
        self.turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.center = self.side * np.array([0.5 + rng.normal(0, 0.02), 0.54 + rng.normal(0, 0.02)])
        self.look = rng.normal(0, 0.07)  # all features turn to a side together
        self.width = rng.uniform(0.74, 0.84) if face.woman else rng.uniform(0.80, 0.92)
        self.eye_gap, self.eye_y = rng.uniform(0.30, 0.38), rng.uniform(-0.12, 0.0)
        self.mouth_y = rng.uniform(0.59, 0.67)
        self.skin = self.tint(SKIN[face.skin])
        self.hair = self.tint(HAIR[face.hair])

    def tint(self, color: Rgb, by: float = 9) -> Rgb:
        """Varies a color slightly at random."""
        r, g, b = np.clip(np.array(color) + self.rng.normal(0, by, 3), 0, 255).astype(int)
        return int(r), int(g), int(b)

    def at(self, points: Points) -> list[tuple[float, float]]:
        return [tuple(p) for p in points @ self.turn.T + self.center]

    def fill(self, points: Points, color: Rgb) -> None:
        self.pen.polygon(self.at(points), fill=color)

    def stroke(self, points: Points, color: Rgb, width: float) -> None:
        """Draws a line of `width` in face units, with round ends."""
        pixels = max(1, round(width * float(np.hypot(*self.turn[0]))))
        line = self.at(points)
        self.pen.line(line, fill=color, width=pixels, joint="curve")
        for x, y in (line[0], line[-1]):
            self.pen.ellipse((x - pixels / 2, y - pixels / 2, x + pixels / 2, y + pixels / 2), fill=color)

    def finish(self) -> NDArray[np.uint8]:
        side = self.finished_side
        small = self.image.resize((side, side), Image.Resampling.BOX)
        light = 1 + self.rng.normal(0, 0.05) + self.rng.normal(0, 0.05) * np.linspace(-1, 1, side)[:, None]
        grain = self.rng.normal(0, 2.0, (SIDE, SIDE, 3))  # drawn for every size, so that captions are the same
        noise = grain if side == SIDE else 0.0
        return (np.asarray(small, float) * light[..., None] + noise).round().clip(0, 255).astype(np.uint8)


def _darker(color: Rgb, by: float = 0.75) -> Rgb:
    r, g, b = (int(v * by) for v in color)
    return r, g, b


def _background(c: _Canvas, face: Face) -> None:
    c.pen.rectangle((0, 0, c.side, c.side), fill=c.tint(BACKGROUNDS[face.background], 12))


def _back_hair(c: _Canvas, face: Face) -> None:
    if face.hair_length == "long":
        length = c.rng.uniform(0.95, 1.35)
        c.fill(oval(0, 0.1, c.width + 0.22, length, power=2.6), _darker(c.hair, 0.82))


def _shoulders(c: _Canvas, face: Face) -> None:
    neck = 0.30 if face.woman else 0.40
    cloth = c.tint((int(c.rng.integers(40, 220)), int(c.rng.integers(40, 220)), int(c.rng.integers(40, 220))), 0)
    c.fill(oval(0, 1.95, 1.25 if face.woman else 1.5, 0.75, power=2.6), cloth)
    c.fill(np.array([(-neck, 0.5), (neck, 0.5), (neck + 0.06, 1.35), (-neck - 0.06, 1.35)]), _darker(c.skin, 0.86))


def _head(c: _Canvas, face: Face) -> None:
    for side in (-1, 1):
        c.fill(oval(side * (c.width + 0.02), 0.08, 0.12, 0.2), _darker(c.skin, 0.92))
    top = oval(0, 0, c.width, 1.0, power=2.1, start=np.pi, end=2 * np.pi)
    jaw = oval(0, 0, c.width, 1.0, power=1.9 if face.woman else 2.7, start=0, end=np.pi)
    c.fill(np.concatenate([top, jaw]), c.skin)
    if face.woman:
        blush = tuple(int(0.85 * s + 0.15 * v) for s, v in zip(c.skin, (230, 90, 90), strict=True))
        for side in (-1, 1):
            c.fill(oval(side * 0.46 + c.look, 0.3, 0.16, 0.11), blush)  # type: ignore[arg-type]


def _hair(c: _Canvas, face: Face) -> None:
    fringe = c.rng.uniform(-0.62, -0.36)
    part = c.rng.uniform(-0.5, 0.5)
    cap = oval(0, -0.05, c.width + 0.09, 1.08, power=2.2, start=np.pi, end=2 * np.pi)
    line = np.array(
        [
            (c.width + 0.06, -0.02),
            (c.width * 0.86, fringe + 0.14),
            (part, fringe - 0.1),
            (-c.width * 0.86, fringe + 0.14),
            (-c.width - 0.06, -0.02),
        ]
    )
    c.fill(np.concatenate([cap, line]), c.hair)
    if face.hair_length == "long":
        for side in (-1, 1):
            lock = [
                (side * (c.width + 0.12), -0.3),
                (side * (c.width - 0.1), -0.2),
                (side * (c.width - 0.04), 0.75),
                (side * (c.width + 0.2), 0.85),
            ]
            c.fill(np.array(lock), c.hair)


def _brows(c: _Canvas, face: Face) -> None:
    lift = {"surprised": -0.14, "frowning": 0.03}.get(face.expression, 0.0)
    slant = {"frowning": 0.10, "surprised": -0.03}.get(face.expression, c.rng.normal(0, 0.015))
    y = c.eye_y - 0.26 + lift
    for side in (-1, 1):
        inner, outer = side * (c.eye_gap - 0.14) + c.look, side * (c.eye_gap + 0.16) + c.look
        line = np.array([(inner, y + slant), ((inner + outer) / 2, y - 0.05), (outer, y + 0.03 - slant / 2)])
        c.stroke(line, _darker(c.hair, 0.7), 0.05 if face.woman else 0.09)


def _eyes(c: _Canvas, face: Face) -> None:
    open_ = {"surprised": 0.16, "smiling": 0.085}.get(face.expression, 0.11) * c.rng.uniform(0.9, 1.1)
    iris = c.tint([(70, 48, 34), (66, 104, 150), (74, 112, 70)][c.rng.integers(3)], 8)
    for side in (-1, 1):
        x = side * c.eye_gap + c.look
        c.fill(oval(x, c.eye_y, 0.16, open_), (248, 248, 246))
        c.fill(oval(x + c.look * 0.6, c.eye_y, 0.085, min(open_, 0.085)), iris)
        c.fill(oval(x + c.look * 0.6, c.eye_y, 0.045, min(open_, 0.045)), (14, 12, 14))
        lid = oval(x, c.eye_y, 0.17, open_ + 0.01, start=np.pi, end=2 * np.pi)
        c.stroke(lid, (30, 24, 26), 0.06 if face.woman else 0.03)
        if face.woman:
            lash = np.array([(x + side * 0.15, c.eye_y - 0.04), (x + side * 0.25, c.eye_y - 0.12)])
            c.stroke(lash, (30, 24, 26), 0.04)


def _nose(c: _Canvas, face: Face) -> None:
    x, y, size = 1.4 * c.look, 0.27, 0.09 if face.woman else 0.12
    c.stroke(np.array([(x + 0.02, y - 0.2), (x + size, y), (x - size * 0.4, y + 0.03)]), _darker(c.skin, 0.78), 0.045)


def _mouth(c: _Canvas, face: Face) -> None:
    x, y, half = 1.2 * c.look, c.mouth_y, c.rng.uniform(0.24, 0.31)
    lips = (186, 58, 72) if face.woman else _darker(c.skin, 0.62)
    width = 0.085 if face.woman else 0.06
    if face.expression == "surprised":
        c.fill(oval(x, y + 0.04, 0.13, 0.17), lips)
        c.fill(oval(x, y + 0.04, 0.085, 0.12), (70, 20, 28))
    elif face.expression == "smiling" and c.rng.random() < 0.6:
        c.fill(np.concatenate([oval(x, y - 0.07, half, 0.24, start=0, end=np.pi)]), lips)
        c.fill(oval(x, y - 0.05, half * 0.82, 0.12, start=0, end=np.pi), (250, 248, 244))
    else:
        bend = {"smiling": 0.15, "frowning": -0.14}.get(face.expression, c.rng.normal(0, 0.015))
        t = np.linspace(-1, 1, 15)
        c.stroke(np.stack([x + half * t, y + bend * (0.6 - t**2)], 1), lips, width)


def _mustache(c: _Canvas, face: Face) -> None:
    if not face.mustache:
        return
    x, y, half, drop = 1.2 * c.look, c.mouth_y - 0.13, c.rng.uniform(0.28, 0.36), c.rng.uniform(0.03, 0.12)
    for side in (-1, 1):
        wing = [
            (x, y - 0.06),
            (x + side * half * 0.6, y - 0.07),
            (x + side * half, y + drop),
            (x + side * half * 0.4, y + 0.06),
            (x, y + 0.04),
        ]
        c.fill(np.array(wing), _darker(c.hair, 0.85))


def _glasses(c: _Canvas, face: Face) -> None:
    if not face.glasses:
        return
    frame = c.tint([(24, 24, 28), (96, 40, 30), (40, 60, 120), (150, 120, 60)][c.rng.integers(4)], 8)
    rx, ry, power = c.rng.uniform(0.22, 0.27), c.rng.uniform(0.18, 0.23), c.rng.choice([2.0, 4.0])
    width = c.rng.uniform(0.045, 0.07)
    for side in (-1, 1):
        x = side * max(c.eye_gap, rx + 0.05) + c.look
        c.stroke(oval(x, c.eye_y, rx, ry, power=float(power)), frame, width)
        c.stroke(np.array([(x + side * rx, c.eye_y - 0.03), (side * (c.width + 0.03), c.eye_y - 0.08)]), frame, width)
    inner = max(c.eye_gap, rx + 0.05) - rx
    c.stroke(np.array([(-inner + c.look, c.eye_y - 0.03), (inner + c.look, c.eye_y - 0.03)]), frame, width)


def _hat(c: _Canvas, face: Face) -> None:
    if not face.hat:
        return
    color = c.tint(HATS[face.hat], 10)
    brim, top = c.rng.uniform(-0.62, -0.52), c.rng.uniform(0.62, 0.85)
    wide = c.width + c.rng.choice([0.12, 0.42])
    c.fill(oval(0, brim, c.width + 0.1, top, power=c.rng.uniform(2, 4), start=np.pi, end=2 * np.pi), color)
    c.fill(oval(0, brim, wide, 0.11, power=2.5), _darker(color, 0.8))


LAYERS: tuple[Callable[[_Canvas, Face], None], ...] = (
    *(_background, _back_hair, _shoulders, _head, _hair, _brows),
    *(_eyes, _nose, _mouth, _mustache, _glasses, _hat),
)  # from the back to the front
