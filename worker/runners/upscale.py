"""Upscales images: those of a request of the mode `upscale`, and those that another runner made."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import accumulate
from typing import Any

import numpy as np

from jobs.errors import AtelierError
from jobs.requests.base import filled
from jobs.requests.upscale import FACTOR, MAX_UPSCALED, UpscaledRequest, Upscaling
from models.upscale.real_esrgan import Upscaler
from models.upscale.tiles import count_tiles, upscale
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.generation import open_network, result
from worker.runners.images import resized
from worker.runners.network import Network, load_network


def run_upscaling(task: Task[Upscaling]) -> JobResult:
    """Each image, upscaled."""
    network, params = open_network(task, Upscaler), task.params
    images = _upscaled(task, network, [task.read_image(image) for image in params.images], params.scale)
    return result([network], list(map(OutputImage, images)))


def upscale_result(task: Task[UpscaledRequest], made: JobResult) -> JobResult:
    """The result of another runner with its images upscaled, and its grids and plots as they are.

    Raises AtelierError `too_many_pixels`; requests that name a size were checked before.
    """
    places = [k for k, output in enumerate(made.images) if output.role == "picture"]
    images = [made.images[k].pixels for k in places]
    if (n := sum(image.shape[0] * image.shape[1] for image in images)) > MAX_UPSCALED:
        message = f"upscale: The images together have {n:,} pixels; at most {MAX_UPSCALED:,} can be upscaled."
        raise AtelierError("too_many_pixels", message, field="upscale", allowed=MAX_UPSCALED)
    network = load_network(task, filled(task.params.upscaler), Upscaler)
    outputs = list(made.images)
    for k, image in zip(places, _upscaled(task, network, images, task.params.upscale), strict=True):
        outputs[k] = replace(outputs[k], pixels=image)
    models = made.models | {network.card.id: network.revision}
    return replace(made, images=outputs, models=models, versions=made.versions | {"torch": version("torch")})


def _upscaled(task: Task[Any], network: Network[Upscaler], images: Sequence[Pixels], scale: int) -> list[Pixels]:
    """The images `scale` times as large; those of one size run in one batch."""
    places: dict[tuple[int, ...], list[int]] = {}
    for k, image in enumerate(images):
        places.setdefault(image.shape, []).append(k)
    batches = [np.stack([images[k] for k in same]) for same in places.values()]
    tiles = [count_tiles(network.module, batch) for batch in batches]
    larger: dict[int, Pixels] = {}
    for same, batch, before in zip(places.values(), batches, accumulate(tiles, initial=0), strict=False):
        made = upscale(network.module, batch, partial(_report, task, before, sum(tiles)))
        larger |= {k: _at_scale(image, scale) for k, image in zip(same, made, strict=True)}
    return [larger[k] for k in range(len(images))]


def _report(task: Task[Any], before: int, total: int, done: int, _: int) -> None:
    first = total if isinstance(task.params, UpscaledRequest) else 0  # another runner's half
    task.report_progress(first + before + done, first + total, "upscaling")


def _at_scale(image: Pixels, scale: int) -> Pixels:
    """An image that was upscaled by FACTOR, at a smaller scale."""
    height, width = (side // FACTOR * scale for side in image.shape[:2])
    return image if scale == FACTOR else resized(image, height, width)
