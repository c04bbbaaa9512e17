"""Runs text-to-image, image-to-image and inpainting; jobs alike run as one batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import TypeAdapter
from torch import Tensor

from jobs.errors import AtelierError
from jobs.generation import Generation, GenerationParams, fitted
from jobs.text_to_image import ImageToImage, Inpainting, Prompted, TextToImage, steps_of
from models.catalogue import WeightsError
from models.diffusion.text_to_image import TextToImage as Model
from models.diffusion.text_to_image import cut_off, generate, preview
from models.grids import sheet
from models.tensors import to_tensor
from worker.lease import CanceledError, LeaseLostError
from worker.run import Made, Picture, Pixels, Task
from worker.runners.network import Network, load_network, pixels

PIXELS_AT_ONCE = 2**20  # of all pictures denoised together: 256 of 64 px, one of 1024 px
_PARAMS: TypeAdapter[Generation] = TypeAdapter(GenerationParams)


@dataclass
class _Job:
    """One of the jobs of a batch; `ended` is what ended it before the others."""

    task: Task
    params: Prompted
    original: Pixels | None = None
    mask: Pixels | None = None
    made: list[Pixels] = field(default_factory=list)
    steps: int = 0
    steps_done: int = 0
    ended: Exception | None = None

    @property
    def seeds(self) -> list[int]:
        return [(int(self.task.params["seed"]) + k) % 2**32 for k in range(self.params.num_images_per_prompt)]


class _AllEndedError(Exception):
    """None of the jobs of a batch wants its pictures any more."""


def run_prompted_alone(task: Task) -> Made:
    """The pictures of one job; raises what ended it."""
    (result,) = run_prompted([task])
    if isinstance(result, Exception):
        raise result
    return result


def run_prompted(tasks: Sequence[Task]) -> list[Made | Exception]:
    """The pictures of each job, or what ended it; all ask for the same model, size, steps, scheduler and guidance."""
    first = _PARAMS.validate_python(tasks[0].params)
    assert isinstance(first, Prompted)
    try:
        network = load_network(tasks[0], first.model)
    except WeightsError as error:
        raise AtelierError("weights_unavailable", str(error), model=error.model_id) from error
    batch = [_job(task, network, tasks[0].load_ms) for task in tasks]
    try:
        _denoise(network, batch)
    except _AllEndedError:
        pass
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        message = f"{first.width} x {first.height} pixels need more memory than the device has; ask for fewer."
        raise AtelierError("out_of_memory", message, field="width") from error
    return [job.ended or _made(network, job, len(tasks)) for job in batch]


def _job(task: Task, network: Network, load_ms: float) -> _Job:
    """A job with its pictures read; an image that is gone ends this one alone."""
    params = fitted(_PARAMS.validate_python(task.params), network.card.architecture)
    assert isinstance(params, Prompted)
    job = _Job(task, params)
    task.load_ms, task.notes["device"] = load_ms, str(network.device)
    try:
        if isinstance(params, ImageToImage | Inpainting):
            job.original = _cut_out(task.read_image(params.image), params)
        if isinstance(params, Inpainting):
            job.mask = _cut_out(task.read_image(params.mask), params)
    except AtelierError as error:
        job.ended = error
    return job


def _cut_out(picture: Pixels, params: Prompted) -> Pixels:
    """The middle of a picture in the shape and size of the result."""
    size = params.width or 0, params.height or 0
    return np.asarray(ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.LANCZOS))


def _denoise(network: Network, batch: Sequence[_Job]) -> None:
    """Fill `made` of each job, as many rows at a time as there is room for."""
    params = batch[0].params
    at_once = max(1, PIXELS_AT_ONCE // ((params.width or 0) * (params.height or 0)))
    rows = [(job, seed) for job in batch if not job.ended for seed in job.seeds]
    parts = [rows[i : i + at_once] for i in range(0, len(rows), at_once)]
    for part in parts:
        for job in {id(job): job for job, _ in part}.values():
            job.steps += steps_of(params)
    for part in parts:
        if not all(job.ended for job, _ in part):
            made = _pictures(network, part, partial(_tell, network, part))
            for (job, _), picture in zip(part, made, strict=True):
                job.made.append(picture)


def _tell(network: Network, part: Sequence[tuple[_Job, int]], latents: Tensor) -> None:
    """Count a step of each job; what ends one of them leaves the others as they are. Raises _AllEndedError."""
    for job in {id(job): job for job, _ in part}.values():
        own = latents[[k for k, (other, _) in enumerate(part) if other is job]]
        job.steps_done += 1
        try:
            if not job.ended:
                job.task.step(job.steps_done, job.steps, "denoising", partial(_preview, network, own))
        except (CanceledError, LeaseLostError, AtelierError) as error:
            job.ended = error
    if all(job.ended for job, _ in part):
        raise _AllEndedError


def _pictures(network: Network, part: Sequence[tuple[_Job, int]], on_step: Callable[[Tensor], None]) -> Pixels:
    jobs = [job for job, _ in part]
    params = jobs[0].params
    assert isinstance(network.module, Model)
    with network.inference():
        made = generate(
            network.module,
            [job.params.prompt for job in jobs],
            seeds=[seed for _, seed in part],
            negative_prompts=[job.params.negative_prompt or "" for job in jobs] if params.guidance_scale else None,
            images=_stacked([job.original for job in jobs]),
            masks=_stacked([job.mask for job in jobs], channels=1),
            strength=1.0 if isinstance(params, TextToImage) else params.strength,
            width=params.width or 0,
            height=params.height or 0,
            num_inference_steps=params.num_inference_steps or 0,
            guidance_scale=params.guidance_scale or 0.0,
            scheduler=params.scheduler,
            on_step=lambda step, latents: on_step(latents),
        )
    return pixels(made)


def _stacked(pictures: Sequence[Pixels | None], channels: int = 3) -> Tensor | None:
    given = [picture for picture in pictures if picture is not None]
    return to_tensor(np.stack(given))[:, :channels] if given else None


def _preview(network: Network, latents: Tensor) -> Pixels:
    """A sheet of small pictures; nothing to see where latents have no places, as FLUX packs them."""
    assert isinstance(network.module, Model)
    return sheet(pixels(preview(latents, network.module.latent_colours)))


def _made(network: Network, job: _Job, n_jobs: int) -> Made:
    metrics: dict[str, Any] = {"batch": n_jobs}
    for name in ("prompt", "negative_prompt"):
        cut = cut_off(network.module, getattr(job.params, name) or "")  # type: ignore[arg-type]
        if cut:
            metrics[f"{name}_cut"] = cut
    pictures = [Picture(picture, seed=seed) for picture, seed in zip(job.made, job.seeds, strict=True)]
    if len(pictures) > 1:
        pictures.append(Picture(sheet(np.stack(job.made), [f"seed {seed}" for seed in job.seeds]), "grid"))
    versions = {name: version(name) for name in ("torch", "diffusers", "transformers")}
    return Made(pictures, {network.card.id: network.revision}, versions, metrics)
