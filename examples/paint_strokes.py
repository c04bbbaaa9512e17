"""Paints `examples/photos/strokes.jpg`, the style image of the demo: thick strokes that follow a swirling night sky.

The same seed paints the same image: `python examples/paint_strokes.py --photos` writes it there.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from examples.output import ROOT, arguments

SIZE, SCALE = 512, 2  # painted at twice the size, for smooth edges
SKY = np.array([(16, 28, 74), (24, 58, 128), (42, 96, 168), (96, 150, 196), (168, 198, 206)], float)
GLOW = np.array([(250, 214, 92), (244, 170, 48), (255, 240, 176)], float)
HILLS = np.array([(14, 30, 44), (24, 62, 60), (52, 92, 66), (18, 42, 84)], float)
SWIRLS = ((0.30, 0.30, 0.16), (0.62, 0.40, 0.20), (0.12, 0.62, 0.10), (0.90, 0.16, 0.12), (0.45, 0.10, 0.10))
STARS = ((0.86, 0.14, 0.085), (0.14, 0.12, 0.05), (0.47, 0.17, 0.045), (0.70, 0.56, 0.05), (0.08, 0.42, 0.04))

Vector = NDArray[np.float64]


def flow(x: float, y: float) -> Vector:
    """Unit direction of a stroke at (x, y) in the unit square: to the east, and around the swirls and stars."""
    direction = np.array([1.0, 0.25 * np.sin(9 * x + 4 * y)])
    for cx, cy, radius in (*SWIRLS, *((cx, cy, 2.2 * r) for cx, cy, r in STARS)):
        dx, dy = x - cx, y - cy
        pull = 2.5 * np.exp(-(dx * dx + dy * dy) / (radius * radius))
        direction += pull * np.array([-dy, dx]) / (np.hypot(dx, dy) + 1e-6)
    return np.asarray(direction / np.hypot(*direction))


def paint_color(x: float, y: float, rng: np.random.Generator) -> tuple[int, ...]:
    """Draws the color of a stroke that starts at (x, y): RGB from 0 to 255."""
    horizon = 0.78 + 0.06 * np.sin(5 * x) + 0.03 * np.sin(17 * x)
    glow = max(np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / (r * r))) for cx, cy, r in STARS)
    if y > horizon:
        base = HILLS[rng.integers(len(HILLS))]
    elif rng.random() < 1.3 * glow:
        base = GLOW[rng.integers(len(GLOW))]
    else:
        light = 0.5 + 0.5 * np.sin(14 * np.hypot(x - 0.55, y - 0.4)) + rng.normal(0, 0.25)
        base = SKY[int(np.clip(light * len(SKY), 0, len(SKY) - 1))]
    return tuple(int(v) for v in np.clip(base + rng.normal(0, 12, 3), 0, 255))


def stroke(draw: ImageDraw.ImageDraw, x: float, y: float, width: int, rng: np.random.Generator) -> None:
    """Draws a stroke along the flow: five parallel bristles of slightly different colors."""
    points, side = [], SIZE * SCALE
    paint = np.array(paint_color(x, y, rng), float)
    for _ in range(rng.integers(5, 14)):
        points.append((x, y))
        step = flow(x, y) * 0.012
        x, y = x + step[0], y + step[1]
    for bristle in np.linspace(-0.5, 0.5, 5):
        shade = tuple(int(v) for v in np.clip(paint * (1 + 0.22 * bristle) + rng.normal(0, 5), 0, 255))
        offset = bristle * width / side
        line = [((px + offset * 0.4) * side, (py + offset) * side) for px, py in points]
        draw.line(line, fill=shade, width=max(2, width // 4), joint="curve")


def main() -> None:
    """Paints large strokes first, then finer ones over them."""
    args = arguments(argparse.ArgumentParser(), ROOT / "examples" / "photos", "--photos")
    rng = np.random.default_rng(19)
    image = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), (30, 60, 110))
    draw = ImageDraw.Draw(image)
    for width, count in ((36, 1500), (22, 3500), (15, 5000)):
        for x, y in rng.random((count, 2)) * 1.1 - 0.05:
            stroke(draw, float(x), float(y), width, rng)
    image = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(1, 80))
    image.save(args.out / "strokes.jpg", quality=80)


if __name__ == "__main__":
    main()
