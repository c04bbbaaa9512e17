"""Text to image and style guidance with a running service: `scripts/run`, then `python examples/diffusion.py`.

Writes the images of docs/explanation/diffusion.md to `demo/`, or with `--docs` to docs/images.
"""

import argparse
from pathlib import Path

import numpy as np

from atelier_client import Atelier
from examples.output import IMAGES, arguments
from models.data.dataset import contact_sheet
from models.data.named import named_dataset

MODEL, SHOWN = "stable-diffusion-avatars", 12


def main() -> None:
    """Writes images for held-out captions, not selected, and three faces at three style guidance scales."""
    out = arguments(argparse.ArgumentParser(), IMAGES).out
    captions = named_dataset("avatars", "test", SHOWN).captions
    with Atelier() as atelier:
        jobs = [
            atelier.generate(model=MODEL, prompt=caption, seed=seed, upscale=1) for seed, caption in enumerate(captions)
        ]
        made = np.stack([np.asarray(job.wait().outputs[0].image().convert("RGB")) for job in jobs])
        contact_sheet(made, 4, captions, scale=2).save(out / "text-to-image.jpg", quality=82)
        style_guidance(atelier, out)


def style_guidance(atelier: Atelier, out: Path) -> None:
    """Writes a sheet of faces, a row for each seed and a column for each style guidance scale."""
    guided = atelier.style_transfer(
        method="diffusion",
        model=MODEL,
        prompt="a smiling woman with a red hat",
        style=IMAGES / "style.jpg",
        style_guidance_scale=[0, 0.1, 0.3],
        num_images_per_prompt=3,
        seed=1,
    ).wait()
    guided.outputs[-1].image().convert("RGB").save(out / "style-guidance.jpg", quality=82)


if __name__ == "__main__":
    main()
