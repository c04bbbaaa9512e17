"""How evenly animations move, and how fast they are made: `python -m bench.motion [--frames 48]`.

Runs pc-animations by the service, reads the files again as a viewer does, and prints for each path the step between
neighboring frames: in the space, in units of the distance of two members, and in the mean absolute difference of pixels
(0 to 255). `back` is the pixel step from the last frame of a loop to its first.
"""

import argparse
import tempfile
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from examples.output import ROOT
from models.data.smileys import smiley
from tests.stack import Stack

PHOTOS = ROOT / "examples" / "photos"
VAE: dict[str, Any] = {"space": "vae-smileys", "data": "smileys", "limit": 400}
STYLES: dict[str, Any] = {"space": "style", "data": "styles", "limit": 150}
CLUSTERINGS = [{"method": "kmeans", "n_clusters": 6}]
Rows = list[tuple[str, str, dict[str, Any]]]  # name, collection, what is asked for


def main() -> None:
    """Starts the stack and prints a row for each path."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=48)
    n_frames: int = parser.parse_args().frames
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.start_all()
            print(f"{'':40}{'step in the space':>18}{'step in pixels':>26}")
            titles = f"{'largest / mean':>18}{'largest / mean':>18}{'back / mean':>13}{'a second':>10}"
            print(f"{f'{n_frames} frames':40}{titles}")
            for name, collection, asked in _paths(stack):
                _print_row(stack, name, collection=collection, n_frames=n_frames, **asked)
        finally:
            stack.stop()


def _paths(stack: Stack) -> Rows:
    faces = [_upload(stack, Image.fromarray(smiley(9, index)[0])) for index in range(4)]
    cat, cup, art = (_upload(stack, Image.open(PHOTOS / f"{name}.jpg")) for name in ("chelsea", "coffee", "strokes"))
    smileys, styles = (_collection(stack, params) for params in (VAE, STYLES))
    painted = {"size": 256, "content": cat}
    return [
        ("VAE: circle through four images", smileys, {"path": {"through": faces}}),
        ("VAE: component, out and back", smileys, {"path": {"component": 0, "strengths": [-2, 2]}}),
        ("VAE: from one image to another", smileys, {"path": {"through": faces[:2]}, "loop": False}),
        ("VAE: around a cluster", smileys, {"path": {"cluster": 0}}),
        ("style: between two photos' styles", styles, {"path": {"through": [cat, cup]}, "loop": False, **painted}),
        ("style: circle through three", styles, {"path": {"through": [cat, cup, art]}, **painted}),
        ("style: component, out and back", styles, {"path": {"component": 0, "strengths": [-2, 2]}, **painted}),
    ]


def _print_row(stack: Stack, name: str, **asked: Any) -> None:
    job = _run(stack, "pc-animations", seed=1, **asked)
    frames = _frames(stack.client.get(job["outputs"][0]["url"]).raise_for_status().content)
    steps = np.abs(frames - np.roll(frames, -1, axis=0)).mean((1, 2, 3))  # the last is that back to the first
    between, metrics = steps[:-1], job["metrics"]
    back = f"{steps[-1] / between.mean():.2f}" if asked.get("loop", True) else "-"
    space = metrics["largest_step"] / metrics["mean_step"]
    ran = [datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at")]
    rate = len(frames) / (ran[1] - ran[0]).total_seconds()
    print(f"{name:40}{space:18.3f}{between.max() / between.mean():18.2f}{back:>13}{rate:10.1f}", flush=True)


def _collection(stack: Stack, params: dict[str, Any]) -> str:
    made = _run(stack, "collections", name="Motion", seed=1, n_components=8, clusterings=CLUSTERINGS, **params)
    return str(made["metrics"]["collection"])


def _run(stack: Stack, route: str, **body: Any) -> dict[str, Any]:
    return stack.finished(stack.client.post(f"/v1/{route}", json=body).raise_for_status().json()["id"], 300)


def _upload(stack: Stack, image: Image.Image) -> str:
    file = BytesIO()
    image.convert("RGB").save(file, "PNG")
    answer = stack.client.post("/v1/images", files={"file": file.getvalue()}).raise_for_status()
    return str(answer.json()["id"])


def _frames(file: bytes) -> NDArray[np.float32]:
    with Image.open(BytesIO(file)) as film:
        return np.stack([np.asarray(frame.convert("RGB"), np.float32) for frame in ImageSequence.Iterator(film)])


if __name__ == "__main__":
    main()
