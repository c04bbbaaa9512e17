"""The runner of each class of requests."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from jobs.requests.added_model import AddedModel
from jobs.requests.animation import Animation
from jobs.requests.arithmetic import Arithmetic
from jobs.requests.base import Request, request_classes
from jobs.requests.collection import CollectionParams, NextVersion
from jobs.requests.image_to_image import ImageToImage
from jobs.requests.inpainting import Inpainting
from jobs.requests.latents import DenoisingSteps, Interpolation, Reconstruction, Sample, Translation, Traversal
from jobs.requests.plots import CollectionPlots
from jobs.requests.search import CollectionSearch
from jobs.requests.steering import ClusterSampling, Steering
from jobs.requests.style_diffusion import DiffusionTransfer
from jobs.requests.style_film import FilmTransfer
from jobs.requests.style_many import ManyTransfers
from jobs.requests.style_transfer import FastTransfer, FeatureInversion, GatysTransfer, TextureSynthesis
from jobs.requests.text_to_image import TextToImage
from jobs.requests.training import Training
from jobs.requests.upscale import UpscaledRequest, Upscaling
from jobs.requests.variation import Variation
from worker.run import BatchRunner, JobResult, Runner, Task
from worker.runners.lazy import lazy

RUNNERS: dict[type[Request], Runner] = {
    GatysTransfer: lazy("optimized", "run_transfer"),
    TextureSynthesis: lazy("optimized", "run_texture"),
    FeatureInversion: lazy("optimized", "run_inversion"),
    ManyTransfers: lazy("many", "run_many"),
    FilmTransfer: lazy("film", "run_film"),
    DiffusionTransfer: lazy("style_diffusion", "run_style_diffusion"),
    Interpolation: lazy("generation", "run_interpolation"),
    Traversal: lazy("generation", "run_traversal"),
    Translation: lazy("generation", "run_translation"),
    DenoisingSteps: lazy("generation", "run_denoising_steps"),
    Variation: lazy("variation", "run_variations"),
    Arithmetic: lazy("arithmetic", "run_arithmetic"),
    **dict.fromkeys(request_classes(Training), lazy("training", "run_training")),
    CollectionParams: lazy("collection", "run_collection"),
    NextVersion: lazy("collection", "run_collection"),
    CollectionPlots: lazy("plots", "run_plots"),
    CollectionSearch: lazy("search", "run_search"),
    Steering: lazy("steering", "run_steering"),
    ClusterSampling: lazy("steering", "run_sampling"),
    Animation: lazy("animation", "run_animation"),
    AddedModel: lazy("added_model", "run_added_model"),
}
# Of requests that run as one batch when they are compatible.
BATCH_RUNNERS: dict[type[Request], BatchRunner] = {
    FastTransfer: lazy("fast", "run_fast"),
    Sample: lazy("generation", "run_samples"),
    Reconstruction: lazy("generation", "run_reconstructions"),
    Upscaling: lazy("upscale", "run_upscalings"),
    TextToImage: lazy("text_to_image", "run_prompted"),
    ImageToImage: lazy("text_to_image", "run_prompted"),
    Inpainting: lazy("text_to_image", "run_prompted"),
}


_upscale: Callable[..., list[JobResult | Exception]] = lazy("upscale", "upscale_results")


def run(tasks: Sequence[Task[Any]]) -> Iterable[JobResult | Exception]:
    """Runs the tasks of one claim by the runner of their class: several are compatible, and so of one class.

    Then upscales the images of those that ask for it, by one network; an error there is the result of its task alone.
    """
    if not _are_upscaled(tasks):
        return _run(tasks)
    with ExitStack() as stack:
        for task in tasks:
            stack.enter_context(_halving_progress(task))
        results = list(_run(tasks))
    return _upscale(tasks, results)


def _run(tasks: Sequence[Task[Any]]) -> Iterable[JobResult | Exception]:
    request = type(tasks[0].params)
    if request in BATCH_RUNNERS:
        return BATCH_RUNNERS[request](tasks)
    return [RUNNERS[request](task) for task in tasks]


def _are_upscaled(tasks: Sequence[Task[Any]]) -> bool:
    params = tasks[0].params
    upscales_itself = isinstance(params, DiffusionTransfer)  # and then paints strokes on the larger images
    return isinstance(params, UpscaledRequest) and not upscales_itself and params.scale_of_images > 1


@contextmanager
def _halving_progress(task: Task[Any]) -> Iterator[None]:
    """Reports the progress inside as the first half of the job's; upscaling is the second."""
    report = task.report_progress
    task.report_progress = lambda step, total, *rest, **options: report(step, 2 * total, *rest, **options)
    try:
        yield
    finally:
        task.report_progress = report
