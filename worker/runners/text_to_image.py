"""Runs text-to-image, image-to-image and inpainting; compatible jobs run as one batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from jobs.errors import AtelierError, BadInput
from jobs.requests.base import ImageSize, filled, seeds_from
from jobs.requests.generation import Prompted
from jobs.requests.image_to_image import ImageToImage
from jobs.requests.inpainting import Inpainting
from jobs.requests.text_to_image import TextToImage
from jobs.settings import get_settings
from models.catalogue import revision
from models.diffusion.control import Control, canny
from models.diffusion.memory import fitting_size, needed_bytes
from models.diffusion.prompts import max_clip_skip
from models.diffusion.text_to_image import TextToImageModel, chunks, cut_off, generate, preview
from models.errors import NotFiniteError
from models.grids import sheet
from models.memory import available_memory
from models.tensors import to_tensor
from worker.lease import CanceledError, LeaseLostError
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.additions import Additions, with_additions
from worker.runners.hires import enlarged
from worker.runners.images import boxed, center_crop
from worker.runners.inpainting import Part, cut_part, mask_of
from worker.runners.network import Network, load_network, pixels
from worker.runners.unfamiliar import warn_of_images, warn_of_prompt

Prompter = Network[TextToImageModel]
MAX_BATCH_PIXELS = 2**20  # of all images denoised together: 256 of 64 px, one of 1024 px


@dataclass
class _Job:
    """A job of a batch; `error` is what ended it before the others."""

    task: Task[Prompted]
    original: Pixels | None = None
    mask: NDArray[np.float32] | None = None  # (h, w), 1 where the image is generated and 0 where it is kept
    control: Pixels | None = None  # what a ControlNet reads
    part: Part | None = None  # of a larger image, into which what is generated is pasted
    images: list[Pixels] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)  # by field, as the text encoder gets them
    cut: dict[str, str] = field(default_factory=dict)  # the ends of prompts that the model does not read
    chunks: int = 1  # in which its prompts are encoded
    steps: int = 0
    steps_done: int = 0
    error: Exception | None = None

    @property
    def params(self) -> Prompted:
        return self.task.params

    @property
    def seeds(self) -> list[int]:
        return seeds_from(self.task.seed, self.params.num_images_per_prompt)


class _AllEndedError(Exception):
    """Every job of a batch has ended."""


def run_prompted(tasks: Sequence[Task[Prompted]]) -> list[JobResult | Exception]:
    """The images of each job or its error; all jobs have the same model, LoRAs, size, steps and so on."""
    network = load_network(tasks[0], filled(tasks[0].params.model), TextToImageModel)
    with with_additions(network, tasks) as additions:
        return _run(network, tasks, additions)


def _check_size(network: Prompter, params: Prompted) -> None:
    """Raises out_of_memory, with a size that fits, if the device has too little memory for an image."""
    (width, height), free = params.size, available_memory(network.device)
    if needed_bytes(network.module, width, height) > free:
        fitting = fitting_size(network.module, width, height, free)
        would = "{} x {} would fit".format(*fitting) if all(fitting) else "none would fit now"
        message = f"width: {width} x {height} pixels need more memory than the device has free; {would}."
        raise AtelierError("out_of_memory", message, field="width", allowed=list(fitting))


def _run(network: Prompter, tasks: Sequence[Task[Prompted]], additions: Additions) -> list[JobResult | Exception]:
    batch = [_job(task, network, additions, tasks[0].load_ms) for task in tasks]
    first = batch[0].params
    _check_size(network, first)
    try:
        _denoise(network, additions, batch)
    except _AllEndedError:
        pass
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        message = f"{first.width} x {first.height} pixels need more memory than the device has; ask for fewer."
        raise AtelierError("out_of_memory", message, field="width") from error
    return [job.error or _result(network, job, len(tasks), additions) for job in batch]


def _job(task: Task[Prompted], network: Prompter, additions: Additions, load_ms: float) -> _Job:
    """Reads the inputs of a job; an error, such as of an image that does not exist, ends this job alone."""
    params, job = task.params, _Job(task)
    task.load_ms, task.notes["device"] = load_ms, str(network.device)
    try:
        _check_pipeline(params, network)
        for name in ("prompt", "negative_prompt"):
            _read_prompt(job, network, additions, name)
        if isinstance(params, Inpainting) and params.is_pasted:
            job.part = cut_part(task, params)
            job.original, job.mask = job.part.image, job.part.mask
        elif isinstance(params, ImageToImage | Inpainting):
            job.original = center_crop(task.read_image(params.image), *params.size)
            job.mask = mask_of(task, params) if isinstance(params, Inpainting) else None
        if control := getattr(params, "control", None):
            seen = center_crop(task.read_image(control.image), *params.size)
            job.control = canny(seen, *control.thresholds) if control.preprocess else seen
        if job.original is not None and not getattr(params, "expand", None):  # repeated edges are unlike anything
            warn_of_images(task, network, "image", job.original[None])
    except AtelierError as error:
        job.error = error
    return job


def _check_pipeline(params: Prompted, network: Prompter) -> None:
    """Raises BadInput for what the pipeline cannot use, where its card does not say so."""
    pipeline: Any = network.module.pipeline
    layers = max_clip_skip(pipeline)
    if (params.clip_skip or 0) > layers:
        raise params.mismatch("clip_skip", f"can leave out {layers} layers; only encoders of CLIP can leave out any")
    if params.scheduler and "beta_schedule" not in network.module.scheduler.config:
        raise params.mismatch("scheduler", "is a flow-matching model and has its own way to remove noise")


def _read_prompt(job: _Job, network: Prompter, additions: Additions, name: str) -> None:
    """Notes the chunks of a prompt, its unread end, and warnings; raises BadInput for invalid weights of words."""
    asked = getattr(job.params, name) or ""
    job.prompts[name] = prompt = additions.written(asked)
    try:
        job.chunks = max(job.chunks, chunks(network.module, prompt))
    except ValueError as error:
        raise BadInput("invalid_request", f"{name}: It cannot be parsed: {error}.", field=name) from error
    if cut := cut_off(network.module, prompt):
        job.cut[f"{name}_cut"] = cut
    warn_of_prompt(job.task, network, name, additions.without_tokens(asked), cut=cut, loras=additions.cards)


def _denoise(network: Prompter, additions: Additions, batch: Sequence[_Job]) -> None:
    """Generates the images of each job, in batches of at most MAX_BATCH_PIXELS."""
    params = batch[0].params
    width, height = params.size
    batch_size = max(1, MAX_BATCH_PIXELS // (width * height))
    rows = [(job, seed) for job in batch if not job.error for seed in job.seeds]
    parts = []
    for n_chunks in sorted({job.chunks for job, _ in rows}):  # prompts of one call have embeddings of one length
        same = [(job, seed) for job, seed in rows if job.chunks == n_chunks]
        parts += [same[i : i + batch_size] for i in range(0, len(same), batch_size)]
    for part in parts:
        for job in {id(job): job for job, _ in part}.values():
            job.steps += params.steps
    for part in parts:
        if not all(job.error for job, _ in part):
            images = _images(network, additions, part, partial(_report_progress, network, part))
            for (job, _), image in zip(part, images.split(1), strict=True):
                try:
                    job.images.extend(pixels(image))
                except NotFiniteError as error:  # caused by this job's prompt or its weights of words
                    job.error = error


def _report_progress(network: Prompter, part: Sequence[tuple[_Job, int]], latents: Tensor) -> None:
    """Reports a step of each job; an error ends that job alone. Raises _AllEndedError."""
    for job in {id(job): job for job, _ in part}.values():
        own = latents[[k for k, (other, _) in enumerate(part) if other is job]]
        job.steps_done += 1
        try:
            if not job.error:
                job.task.report_progress(job.steps_done, job.steps, "denoising", partial(_preview, network, own))
        except (CanceledError, LeaseLostError, AtelierError, NotFiniteError) as error:
            job.error = error
    if all(job.error for job, _ in part):
        raise _AllEndedError


def _images(
    network: Prompter, additions: Additions, part: Sequence[tuple[_Job, int]], on_step: Callable[[Tensor], None]
) -> Tensor:
    """Generates a batch of images (n, 3, h, w) in [0, 1], each of a job and a seed."""
    jobs = [job for job, _ in part]
    params = jobs[0].params
    strength = 1.0 if isinstance(params, TextToImage) else params.strength
    made = partial(_generated, network, additions, part, on_step)
    if not (isinstance(params, TextToImage) and params.is_hires):
        return made(params.size, _stacked([job.original for job in jobs]), strength)
    first = made(params.first_size(network.card.architecture["image_size"]), None, 1.0)
    return made(params.size, enlarged(jobs[0].task, params, first), filled(params.hires_strength))


def _generated(
    network: Prompter,
    additions: Additions,
    part: Sequence[tuple[_Job, int]],
    on_step: Callable[[Tensor], None],
    size: ImageSize,
    images: Tensor | None,
    strength: float,
) -> Tensor:
    jobs = [job for job, _ in part]
    params = jobs[0].params
    with network.inference():
        return generate(
            network.module,
            [job.prompts["prompt"] for job in jobs],
            seeds=[seed for _, seed in part],
            negative_prompts=[job.prompts["negative_prompt"] for job in jobs] if params.guidance_scale else None,
            images=images,
            masks=_stacked_masks([job.mask for job in jobs]),
            strength=strength,
            width=size[0],
            height=size[1],
            num_inference_steps=filled(params.num_inference_steps),
            guidance_scale=filled(params.guidance_scale),
            scheduler=params.scheduler,
            eta=params.eta or 0.0,
            clip_skip=params.clip_skip or 0,
            control=_control(network, additions, jobs, size),
            image_prompt=additions.image_prompt,
            on_step=lambda step, latents: on_step(latents),
        )


def _control(network: Prompter, additions: Additions, jobs: Sequence[_Job], size: ImageSize) -> Control | None:
    images, asked = _stacked([job.control for job in jobs]), getattr(jobs[0].params, "control", None)
    if images is None or asked is None:
        return None
    images = F.interpolate(images, size[::-1], mode="area") if images.shape[2:] != size[::-1] else images
    return Control(additions.controlnet, images.to(network.device), asked.scale, asked.start, asked.end)


def _stacked(images: Sequence[Pixels | None]) -> Tensor | None:
    given = [image for image in images if image is not None]
    return to_tensor(np.stack(given)) if given else None


def _stacked_masks(masks: Sequence[NDArray[np.float32] | None]) -> Tensor | None:
    given = [mask for mask in masks if mask is not None]
    return torch.from_numpy(np.stack(given)[:, None]) if given else None


def _preview(network: Prompter, latents: Tensor) -> Pixels:
    """A sheet of previews; those of packed latents, such as FLUX's, show nothing."""
    return sheet(pixels(preview(latents, network.module.latent_colors)))


def _result(network: Prompter, job: _Job, n_jobs: int, additions: Additions) -> JobResult:
    made = list(map(job.part.pasted, job.images)) if job.part else job.images
    images = [OutputImage(image, seed=seed) for image, seed in zip(made, job.seeds, strict=True)]
    if len(images) > 1:
        tiles = [boxed(image, *job.params.size) for image in made] if job.part else made
        images.append(OutputImage(sheet(np.stack(tiles), [f"seed {seed}" for seed in job.seeds]), "grid"))
    cards = [network.card, *additions.cards]
    if isinstance(job.params, TextToImage) and job.params.is_hires and job.params.hires_upscaler:
        cards.append(job.task.find_model(job.params.hires_upscaler))
    models = {card.id: revision(card, get_settings().weights_dir) for card in cards}
    versions = versions_of("torch", "diffusers", "transformers")
    return JobResult(images, models, versions, {"batch": n_jobs, **job.cut})
