"""The runner of each class of requests."""

from collections.abc import Sequence
from typing import Any

from jobs.requests.animation import Animation
from jobs.requests.arithmetic import Arithmetic
from jobs.requests.base import Request, request_classes
from jobs.requests.collection import CollectionParams, NextVersion
from jobs.requests.latents import DenoisingSteps, Interpolation, Reconstruction, Sample, Translation, Traversal
from jobs.requests.plots import CollectionPlots
from jobs.requests.search import CollectionSearch
from jobs.requests.steering import ClusterSampling, Steering
from jobs.requests.style_diffusion import DiffusionTransfer
from jobs.requests.style_transfer import FastTransfer, FeatureInversion, GatysTransfer, TextureSynthesis
from jobs.requests.text_to_image import ImageToImage, Inpainting, TextToImage
from jobs.requests.training import Training
from worker.run import BatchRunner, JobResult, Runner, Task
from worker.runners.lazy import lazy

RUNNERS: dict[type[Request], Runner] = {
    FastTransfer: lazy("fast", "run_fast"),
    GatysTransfer: lazy("optimized", "run_transfer"),
    TextureSynthesis: lazy("optimized", "run_texture"),
    FeatureInversion: lazy("optimized", "run_inversion"),
    DiffusionTransfer: lazy("style_diffusion", "run_style_diffusion"),
    Sample: lazy("generation", "run_sample"),
    Reconstruction: lazy("generation", "run_reconstruction"),
    Interpolation: lazy("generation", "run_interpolation"),
    Traversal: lazy("generation", "run_traversal"),
    Translation: lazy("generation", "run_translation"),
    DenoisingSteps: lazy("generation", "run_denoising_steps"),
    Arithmetic: lazy("arithmetic", "run_arithmetic"),
    **dict.fromkeys(request_classes(Training), lazy("training", "run_training")),
    CollectionParams: lazy("collection", "run_collection"),
    NextVersion: lazy("collection", "run_collection"),
    CollectionPlots: lazy("plots", "run_plots"),
    CollectionSearch: lazy("search", "run_search"),
    Steering: lazy("steering", "run_steering"),
    ClusterSampling: lazy("steering", "run_sampling"),
    Animation: lazy("animation", "run_animation"),
}
# Of requests that run as one batch when they are compatible.
BATCH_RUNNERS: dict[type[Request], BatchRunner] = {
    TextToImage: lazy("text_to_image", "run_prompted"),
    ImageToImage: lazy("text_to_image", "run_prompted"),
    Inpainting: lazy("text_to_image", "run_prompted"),
}


def run(tasks: Sequence[Task[Any]]) -> Sequence[JobResult | Exception]:
    """Runs the tasks of one claim by the runner of their class: several are compatible, and so of one class."""
    request = type(tasks[0].params)
    if request in BATCH_RUNNERS:
        return BATCH_RUNNERS[request](tasks)
    return [RUNNERS[request](task) for task in tasks]
