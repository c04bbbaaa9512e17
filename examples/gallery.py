"""Writes docs/how-to/paint-a-photo.md and its images: `scripts/run`, then `python examples/gallery.py --docs`.

Without `--docs` it writes to `demo/`. Each entry is one request; an image that it names is a file of examples/photos.
"""

import argparse
import json
import textwrap
from typing import Any

from atelier_client import Atelier
from examples.output import DOCS, ROOT, arguments

PHOTOS = ROOT / "examples" / "photos"
WIDEST = 1000  # pixels of an image in the docs
CAT = {"content": "chelsea.jpg", "size": 448}
WOMAN = {"content": "astronaut.jpg", "size": 448}
GATYS = {"method": "gatys", "style": "strokes.jpg", "num_steps": 120}

# Title, what the image shows, the request, and the role of the output to show.
ENTRIES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "transfer": (
        "Apply the style of an image",
        "Optimized from coarse to fine, so that strokes are as long as the style's; `before_after` adds the inputs.",
        CAT | GATYS | {"before_after": True, "seed": 1},
        "grid",
    ),
    "curve": (
        "Plot the loss",
        "`loss_curve` adds a plot. Each jump is the next finer level, whose detail is not optimized yet.",
        CAT | GATYS | {"loss_curve": True, "seed": 1},
        "plot",
    ),
    "fine-strokes": (
        "Change the size of strokes",
        "`style_scale` resizes the style, here to half its size.",
        CAT | GATYS | {"style_scale": 0.5, "before_after": True, "seed": 1},
        "grid",
    ),
    "luminance": (
        "Keep the photo's colors: luminance",
        "`luminance` optimizes only the luminance and takes the colors from the photo.",
        CAT | GATYS | {"preserve_color": "luminance", "before_after": True, "seed": 1},
        "grid",
    ),
    "histogram": (
        "Keep the photo's colors: histogram",
        "`histogram` first gives the style the mean and covariance of the photo's colors.",
        CAT | GATYS | {"preserve_color": "histogram", "before_after": True, "seed": 1},
        "grid",
    ),
    "mask": (
        "Restrict a style with a mask",
        "A mask is white where the style applies; pixels that no mask covers do not change.",
        WOMAN
        | GATYS
        | {
            "style": [{"image": "strokes.jpg", "mask": "astronaut-background.png"}],
            "style_weight": 60,
            "before_after": True,
            "seed": 1,
        },
        "grid",
    ),
    "two-masks": (
        "Use two styles with two masks",
        "Each style has its own mask; styles that share a mask are blended by weight.",
        WOMAN
        | GATYS
        | {
            "style": [
                {"image": "strokes.jpg", "mask": "astronaut-background.png"},
                {"image": "coffee.jpg", "mask": "astronaut-figure.png"},
            ],
            "style_weight": 10,
            "before_after": True,
            "seed": 1,
        },
        "grid",
    ),
    "losses": (
        "Choose another style loss",
        "The sliced Wasserstein distance compares distributions of features; a Gram matrix compares their products.",
        CAT | GATYS | {"style_losses": {"sliced-wasserstein": 1}, "before_after": True, "seed": 1},
        "grid",
    ),
    "fast": (
        "Get a result in under a second",
        "`fast` is one pass through a network for any style image; `init: fast` starts `gatys` from its result.",
        CAT | {"method": "fast", "style": "strokes.jpg", "before_after": True, "seed": 1},
        "grid",
    ),
    "textures": (
        "Synthesize textures by depth",
        "From noise, matching the Gram matrices of the first layer, of the first two, and so on.",
        {
            **{"mode": "texture", "style": "strokes.jpg", "width": 192, "height": 192, "ladder": True},
            **{"num_steps": 150, "seed": 3},
        },
        "grid",
    ),
    "wide-texture": (
        "Synthesize a texture of any size",
        "Wider than its style, without repetition.",
        {"mode": "texture", "style": "strokes.jpg", "width": 896, "height": 256, "num_steps": 150, "seed": 3},
        "picture",
    ),
    "inversion": (
        "Reconstruct a photo from one layer",
        "From noise, matching the photo's features at one layer; labels give their error and the pixels' PSNR.",
        {"mode": "inversion", "content": "astronaut.jpg", "size": 192, "num_steps": 300, "tolerance": 0, "seed": 1},
        "grid",
    ),
}
HEAD = """# Paint a photo

Each image is the result of the request below it (`POST /v1/style-transfers`). The file names stand for the ids of
uploaded files of [examples/photos](../../examples/photos). [The API](../reference/api.md#style-transfers) has every
field, [Style transfer](../explanation/style-transfer.md) explains them, and [Results](../results.md#style-transfer) has
the times. With `scripts/run` up, `python examples/gallery.py --docs` makes this page and its images again.
"""


def main() -> None:
    """Sends each request, writes its image and the page, and prints the seconds of each job."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    args = arguments(parser, DOCS)
    folder = args.out / "images" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    with Atelier() as atelier:
        for name in args.only:
            _, _, request, role = ENTRIES[name]
            job = atelier.style_transfer(**_with_paths(request)).wait()
            image = next(output for output in job.outputs if output.role == role).image().convert("RGB")
            image.thumbnail((WIDEST, WIDEST))
            image.save(folder / f"{name}.jpg", quality=85)
            shown = {key: job.metrics[key] for key in ("loss", "steps", "by_layer") if key in job.metrics}
            print(f"{name}: {job.metrics['run_ms'] / 1000:.1f} s, {json.dumps(shown)}", flush=True)
    if len(args.only) == len(ENTRIES):
        path = args.out / "how-to" / "paint-a-photo.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(page())


def page() -> str:
    """Returns the page: a section for each request."""
    sections = [
        f"\n## {title}\n\n{words}\n\n![{title}](../images/gallery/{name}.jpg)\n\n{_wrapped(request)}\n"
        for name, (title, words, request, _) in ENTRIES.items()
    ]
    return HEAD + "".join(sections)


def _wrapped(request: dict[str, Any]) -> str:
    """Returns the request as a block of code that fits into the page; lines break between fields."""
    text = json.dumps(request, separators=(", ", ":\xa0"))
    return textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="     ").replace("\xa0", " ")


def _with_paths(request: Any) -> Any:
    """Returns the request with the paths of the photos that it names."""
    if isinstance(request, dict):
        return {key: _with_paths(value) for key, value in request.items()}
    if isinstance(request, list):
        return [_with_paths(value) for value in request]
    return PHOTOS / request if isinstance(request, str) and (PHOTOS / request).is_file() else request


if __name__ == "__main__":
    main()
