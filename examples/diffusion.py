"""Text to image and style guidance with a running service: `scripts/run`, then `python examples/diffusion.py`.

Writes the images of docs/explanation/diffusion.md to `demo/`, or with `--docs` to docs/images.
"""

import argparse
import sys
import time
from io import BytesIO
from typing import Any

import httpx
import numpy as np
from PIL import Image

from examples.output import IMAGES, arguments
from models.data.dataset import contact_sheet
from models.data.named import named_dataset

MODEL, SHOWN = "stable-diffusion-avatars", 12


def main() -> None:
    """Writes images for held-out captions, not selected, and five faces at three style guidance scales."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    args = arguments(parser, IMAGES)
    with httpx.Client(base_url=args.url, timeout=120, trust_env=False) as http:
        captions = named_dataset("avatars", "test", SHOWN).captions
        jobs = [
            queued(http, "generations", mode="text-to-image", model=MODEL, prompt=caption, seed=seed)
            for seed, caption in enumerate(captions)
        ]
        made = np.stack([np.asarray(finished(http, job)[0].convert("RGB")) for job in jobs])
        contact_sheet(made, 4, captions, scale=2).save(args.out / "text-to-image.jpg", quality=82)
        style = answer(http.post("/v1/images", files={"file": (IMAGES / "style.jpg").read_bytes()}))["id"]
        guided = queued(
            http,
            "style-transfers",
            **{"method": "diffusion", "model": MODEL, "prompt": "a smiling woman with a red hat", "style": style},
            **{"style_guidance_scale": [0, 0.1, 0.3], "num_images_per_prompt": 5, "seed": 1},
        )
        finished(http, guided)[-1].convert("RGB").save(args.out / "style-guidance.jpg", quality=82)


def queued(http: httpx.Client, path: str, **request: Any) -> dict[str, Any]:
    """Submits a request and returns the new job."""
    return answer(http.post(f"/v1/{path}", json=request))


def finished(http: httpx.Client, job: dict[str, Any]) -> list[Image.Image]:
    """Waits for the end of a job and returns its images."""
    while job["finished_at"] is None:
        time.sleep(0.3)
        job = answer(http.get(job["urls"]["self"]))
    if job["status"] != "succeeded":
        sys.exit(str(job["error"]))
    return [Image.open(BytesIO(http.get(each["url"]).raise_for_status().content)) for each in job["outputs"]]


def answer(response: httpx.Response) -> dict[str, Any]:
    """Returns the body; an error ends the script."""
    if response.is_error:
        sys.exit(response.text)
    body: dict[str, Any] = response.json()
    return body


if __name__ == "__main__":
    main()
