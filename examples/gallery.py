"""Style by a VGG in images: `scripts/run`, then `python examples/gallery.py` writes paint-a-photo.md and its images.

With `--docs` they are those of docs/. Each entry is one request; a picture it names is a file of examples/photos.
"""

import argparse
import json
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from examples.output import DOCS, ROOT, arguments

PHOTOS = ROOT / "examples" / "photos"
WIDEST = 1000  # pixels of a picture in the docs
CAT = {"content": "chelsea.jpg", "size": 448}
WOMAN = {"content": "astronaut.jpg", "size": 448}
GATYS = {"method": "gatys", "style": "strokes.jpg", "num_steps": 120}

# Title, what there is to see, the request, and which output: "picture", "grid" or "plot".
ENTRIES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "transfer": (
        "A photo in the style of a picture",
        "From coarse to fine, so that strokes are as long as the style's; `before_after` puts them side by side.",
        CAT | GATYS | {"before_after": True, "seed": 1},
        "grid",
    ),
    "curve": (
        "Its losses",
        "`loss_curve` plots them: each jump is the next finer level, where the picture must first learn its detail.",
        CAT | GATYS | {"loss_curve": True, "seed": 1},
        "plot",
    ),
    "fine-strokes": (
        "Finer strokes",
        "`style_scale` shows the network the style at half the size, or up to twice.",
        CAT | GATYS | {"style_scale": 0.5, "before_after": True, "seed": 1},
        "grid",
    ),
    "luminance": (
        "In its own colours",
        "`luminance` paints in grey, with the style's luminance, and takes the colours from the photo.",
        CAT | GATYS | {"preserve_colour": "luminance", "before_after": True, "seed": 1},
        "grid",
    ),
    "histogram": (
        "With a style in the photo's colours",
        "`histogram` gives the style the mean and covariance of the photo's colours before it is painted with.",
        CAT | GATYS | {"preserve_colour": "histogram", "before_after": True, "seed": 1},
        "grid",
    ),
    "mask": (
        "Behind her only",
        "A mask, white where the style goes; what no mask covers stays as it is to the last bit.",
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
        "A style for each part",
        "Two styles with a mask each; styles of one mask are mixed by weight.",
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
        "Another loss",
        "The sliced Wasserstein distance sees whole distributions of features where a Gram matrix sees their products.",
        CAT | GATYS | {"style_losses": {"sliced-wasserstein": 1}, "before_after": True, "seed": 1},
        "grid",
    ),
    "fast": (
        "In a third of a second",
        "One pass through a network that reads any style; `init: fast` lets `gatys` go on from it.",
        CAT | {"method": "fast", "style": "strokes.jpg", "before_after": True, "seed": 1},
        "grid",
    ),
    "textures": (
        "Textures by depth",
        "From noise, with the Gram matrices of the first layer, of the first two, and so on: the classic figure.",
        {
            **{"mode": "texture", "style": "strokes.jpg", "width": 192, "height": 192, "ladder": True},
            **{"num_steps": 150, "seed": 3},
        },
        "grid",
    ),
    "wide-texture": (
        "A texture of any size",
        "Wider than its style and nowhere repeated.",
        {"mode": "texture", "style": "strokes.jpg", "width": 896, "height": 256, "num_steps": 150, "seed": 3},
        "picture",
    ),
    "inversion": (
        "What each layer still knows",
        "From noise, with the features that the photo has at one layer: their error, and how like the pixels are.",
        {"mode": "inversion", "content": "astronaut.jpg", "size": 192, "num_steps": 300, "tolerance": 0, "seed": 1},
        "grid",
    ),
}
HEAD = """# What a VGG can do: a gallery

Each picture is the answer to the request below it, on two CPU cores; a picture that a request names is a file of
[examples/photos](../../examples/photos). `python examples/gallery.py` makes all of it anew from a running service, this
page included, with `--docs` in its place. [docs/reference/api.md](../reference/api.md) has every field.
"""


def main() -> None:
    """Send each request, and write its picture and its place in the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--only", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    args = arguments(parser, DOCS)
    seconds: dict[str, float] = {}
    with httpx.Client(base_url=args.url, timeout=120, trust_env=False) as http:
        for name in args.only:
            _, _, request, role = ENTRIES[name]
            job = _run(http, _with_ids(http, request))
            wanted = next(output for output in job["outputs"] if output["role"] == role)
            _save(http.get(wanted["url"]).raise_for_status().content, args.out / "images" / "gallery" / f"{name}.jpg")
            seconds[name] = job["metrics"]["run_ms"] / 1000
            shown = {key: job["metrics"][key] for key in ("loss", "steps", "by_layer") if key in job["metrics"]}
            print(f"{name}: {seconds[name]:.1f} s, {json.dumps(shown)}", flush=True)
    if len(args.only) == len(ENTRIES):
        page = args.out / "how-to" / "paint-a-photo.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(HEAD + "".join(_entry(name, seconds[name]) for name in ENTRIES))


def _entry(name: str, seconds: float) -> str:
    title, words, request, _ = ENTRIES[name]
    return (
        f"\n## {title}\n\n{words}\n\n![{title}](../images/gallery/{name}.jpg)\n\n"
        f"    {json.dumps(request)}\n\n{seconds:.1f} seconds.\n"
    )


def _with_ids(http: httpx.Client, request: Any) -> Any:
    """The request with every photo uploaded and named by its id."""
    if isinstance(request, dict):
        return {key: _with_ids(http, value) for key, value in request.items()}
    if isinstance(request, list):
        return [_with_ids(http, value) for value in request]
    if isinstance(request, str) and (PHOTOS / request).is_file():
        return http.post("/v1/images", files={"file": (PHOTOS / request).read_bytes()}).raise_for_status().json()["id"]
    return request


def _run(http: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    answer = http.post("/v1/style-transfers", json=request)
    if answer.is_error:
        sys.exit(answer.text)
    job: dict[str, Any] = answer.json()
    while job["status"] in ("queued", "running"):
        time.sleep(0.5)
        job = http.get(job["urls"]["self"]).raise_for_status().json()
    if job["status"] != "succeeded":
        sys.exit(f"{job['id']} is {job['status']}: {job['error']}")
    return job


def _save(data: bytes, path: Path) -> None:
    image = Image.open(BytesIO(data)).convert("RGB")
    image.thumbnail((WIDEST, WIDEST))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=85)


if __name__ == "__main__":
    main()
