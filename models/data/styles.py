"""Paintings to take styles from, all different: 256 x 256 RGB, procedural or in a built-in style.

Image `i` of a seed depends only on these two numbers, so any part can be painted anywhere, in any order.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.data.dataset import Dataset
from models.data.drawing import drawn_set
from models.data.painting import FAMILIES, SIDE

# From dark to light.
PALETTES = {
    "ember": ((38, 16, 18), (120, 24, 22), (208, 62, 28), (244, 140, 44), (252, 222, 150)),
    "ocean": ((8, 24, 48), (16, 70, 110), (30, 128, 160), (110, 190, 200), (232, 244, 240)),
    "forest": ((18, 32, 22), (40, 84, 48), (104, 136, 60), (186, 178, 96), (240, 232, 204)),
    "pastel": ((112, 100, 146), (226, 150, 176), (160, 196, 222), (250, 216, 170), (250, 246, 238)),
    "neon": ((16, 10, 40), (110, 40, 230), (236, 0, 140), (0, 206, 220), (250, 236, 60)),
    "sepia": ((42, 28, 18), (104, 72, 44), (164, 124, 80), (212, 180, 134), (246, 232, 206)),
    "ink": ((16, 16, 20), (66, 68, 76), (126, 128, 134), (188, 188, 190), (246, 244, 238)),
    "primary": ((24, 24, 30), (28, 72, 160), (206, 32, 38), (246, 196, 24), (246, 240, 226)),
    "dusk": ((30, 20, 56), (88, 44, 110), (178, 74, 122), (240, 140, 110), (252, 216, 170)),
    "spring": ((36, 70, 58), (80, 166, 116), (240, 124, 138), (250, 206, 84), (250, 250, 236)),
}
BUILTIN = Path(__file__).parent / "builtin"  # an image in each built-in style, by examples/builtin_styles.py
BUILTIN_STYLES, BUILTIN_TURNS = 26, 2  # how many there are, and how many follow each turn of the families
KINDS = (*FAMILIES, "builtin")
ATTRIBUTES = (*KINDS, *PALETTES)


@dataclass(frozen=True)
class Style:
    """Facts of one painting; one in a built-in style has its number and no palette."""

    family: str
    palette: str = ""
    number: int | None = None

    @property
    def caption(self) -> str:
        """Caption such as "stained glass in ember colors" or "built-in style 19"."""
        if self.number is not None:
            return f"built-in style {self.number}"
        return f"{self.family.replace('_', ' ')} in {self.palette} colors"


def attributes_of(style: Style) -> NDArray[np.bool_]:
    """Returns the attributes of a painting, bool, in the order of `ATTRIBUTES`."""
    return np.array([name in (style.family, style.palette) for name in ATTRIBUTES])


def styles(n: int, seed: int = 0, *, start: int = 0, processes: int | None = None) -> Dataset:
    """Paints images `start` to `start + n` of a seed, (n, 256, 256, 3), labeled by family."""
    dataset, painted = drawn_set(style, attributes_of, ATTRIBUTES, n=n, seed=seed, start=start, processes=processes)
    labels = np.array([KINDS.index(each.family) for each in painted], np.int64)
    return replace(dataset, labels=labels, label_names=KINDS)


def style(seed: int, index: int) -> tuple[NDArray[np.uint8], Style]:
    """Paints one image (256, 256, 3) and returns its facts.

    Every family occurs once in each turn of 17 images, which two built-in styles end; 221 images have all of these.
    """
    rng = np.random.default_rng([seed, index])
    turn, place = divmod(index, len(FAMILIES) + BUILTIN_TURNS)
    if place >= len(FAMILIES):
        number = (turn * BUILTIN_TURNS + place - len(FAMILIES)) % BUILTIN_STYLES
        return _part(rng, number), Style("builtin", number=number)
    facts = Style(list(FAMILIES)[place], str(rng.choice(list(PALETTES))))
    palette = (np.array(PALETTES[facts.palette]) + rng.normal(0, 10, (5, 3))).clip(0, 255) / 255
    painting = FAMILIES[facts.family](rng, palette)
    return (painting.clip(0, 1) * 255).round().astype(np.uint8), facts


def _part(rng: np.random.Generator, number: int) -> NDArray[np.uint8]:
    """A random part (256, 256, 3) of the image in a built-in style, mirrored or not."""
    with Image.open(BUILTIN / f"{number}.webp") as file:
        image = np.asarray(file.convert("RGB"))
    top, left = rng.integers(image.shape[0] - SIDE + 1, size=2)
    part = image[top : top + SIDE, left : left + SIDE]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)
