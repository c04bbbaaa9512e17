"""Upscales images: those of a request of the mode `upscale`, and those that another runner made."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from jobs.errors import AtelierError
from jobs.requests.base import filled
from jobs.requests.upscale import FACTOR, MAX_UPSCALED, UpscaledRequest, Upscaling
from models.upscale.real_esrgan import Upscaler
from models.upscale.tiles import count_tiles, upscale
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task, shown
from worker.runners.generation import open_network, result
from worker.runners.images import resized
from worker.runners.joint import Joint, noting, shares
from worker.runners.network import Network, load_network

ENLARGED = ("picture", "animation")  # roles of the outputs that are upscaled


def run_upscalings(tasks: Sequence[Task[Upscaling]]) -> list[JobResult | Exception]:
    """For each task its images, upscaled; the tasks have one model and one scale."""
    network, joint = open_network(tasks[0], Upscaler), Joint(tasks)
    noting(tasks, device=str(network.device))
    read = joint.each(lambda task: [task.read_image(image) for image in task.params.images])

    def run() -> dict[int, JobResult]:
        made = _upscaled(network, read, tasks[0].params.scale, partial(_report, joint, 0))
        return {place: result([network], list(map(OutputImage, images))) for place, images in made.items()}

    return joint.results(run)


def upscale_results(
    tasks: Sequence[Task[UpscaledRequest]], made: Sequence[JobResult | Exception]
) -> list[JobResult | Exception]:
    """The results of another runner with their images and frames upscaled, and their grids and plots as they are.

    A result of too many pixels becomes AtelierError `too_many_pixels`; requests that name a size were checked before.
    """
    joint, params = Joint(tasks), tasks[0].params
    joint.errors |= {place: each for place, each in enumerate(made) if isinstance(each, Exception)}
    results = {place: each for place, each in enumerate(made) if isinstance(each, JobResult)}
    found = {place: _to_upscale(each) for place, each in results.items()}
    joint.errors |= {place: too_many for place, images in found.items() if (too_many := _too_many(images.values()))}
    read = [(place, list(images.values())) for place, images in found.items() if place not in joint.errors]

    def run() -> dict[int, JobResult]:
        network = load_network(tasks[0], filled(params.upscaler), Upscaler)
        larger = _upscaled(network, read, params.scale_of_images, partial(_report, joint, 1))
        by_image = {place: dict(zip(found[place], larger[place], strict=True)) for place, _ in read}
        return {place: _with_larger(results[place], by_image[place], network) for place, _ in read}

    return joint.results(run if read else dict)


def upscaled(
    network: Network[Upscaler], images: Sequence[Pixels], scale: int, report: Callable[[int, int], None]
) -> list[Pixels]:
    """The images of a runner that upscales its own, `scale` times as large; raises AtelierError for too many.

    report: called with the number of tiles done, and of all.
    """
    if too_many := _too_many(images):
        raise too_many
    return _upscaled(network, [(0, images)], scale, report)[0]


def _to_upscale(made: JobResult) -> dict[Any, Pixels]:
    """The different images and frames of a result: an animation that returns the way it came shows some twice."""
    return {_key(image): image for output in made.images if output.role in ENLARGED for image in shown(output)}


def _key(image: Pixels) -> tuple[tuple[int, ...], bytes]:
    return image.shape, image.tobytes()


def _too_many(images: Iterable[Pixels]) -> AtelierError | None:
    n = sum(image.shape[0] * image.shape[1] for image in images)
    if n <= MAX_UPSCALED:
        return None
    message = f"upscale: The images together have {n:,} pixels; at most {MAX_UPSCALED:,} can be upscaled."
    return AtelierError("too_many_pixels", message, field="upscale", allowed=MAX_UPSCALED)


def _with_larger(made: JobResult, larger: Mapping[Any, Pixels], network: Network[Upscaler]) -> JobResult:
    outputs = [_enlarged(output, larger) if output.role in ENLARGED else output for output in made.images]
    models = made.models | {network.card.id: network.revision}
    return replace(made, images=outputs, models=models, versions=made.versions | versions_of("torch"))


def _enlarged(output: OutputImage, larger: Mapping[Any, Pixels]) -> OutputImage:
    """An output with each of its images replaced by the larger one."""
    frames = [larger[_key(image)] for image in shown(output)]
    return replace(output, pixels=frames[0], frames=None if output.frames is None else np.stack(frames))


def _upscaled(
    network: Network[Upscaler],
    read: Sequence[tuple[int, Sequence[Pixels]]],
    scale: int,
    report: Callable[[int, int], None],
) -> dict[int, list[Pixels]]:
    """The images of each place `scale` times as large; those of one size run in one batch."""
    images = [image for _, own in read for image in own]
    places: dict[tuple[int, ...], list[int]] = {}
    for k, image in enumerate(images):
        places.setdefault(image.shape, []).append(k)
    batches = [np.stack([images[k] for k in same]) for same in places.values()]
    tiles = [count_tiles(network.module, batch) for batch in batches]
    larger: dict[int, Pixels] = {}
    for same, batch, before in zip(places.values(), batches, accumulate(tiles, initial=0), strict=False):
        made = upscale(
            network.module,
            batch,
            lambda done, _, before=before: report(before + done, sum(tiles)),  # type: ignore[misc]
        )
        larger |= {k: _at_scale(image, scale) for k, image in zip(same, made, strict=True)}
    every = [larger[k] for k in range(len(images))]
    return {
        place: list(own) for (place, _), own in zip(read, shares(every, [len(own) for _, own in read]), strict=True)
    }


def _report(joint: Joint[Any], halves_before: int, done: int, total: int) -> None:
    """Reports tiles; images of another runner are upscaled in the second half of their job."""
    first = halves_before * total
    joint.report_progress(first + done, first + total, "upscaling")


def _at_scale(image: Pixels, scale: int) -> Pixels:
    """An image that was upscaled by FACTOR, at a smaller scale."""
    height, width = (side // FACTOR * scale for side in image.shape[:2])
    return image if scale == FACTOR else resized(image, height, width)
