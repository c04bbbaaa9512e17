"""The real worker, with every request reduced to small sizes and two steps: fuzzing asks for the largest."""

from collections.abc import Sequence

from PIL import Image

from worker import app as worker_app
from worker.run import JobResult, Task
from worker.runners import BATCH_RUNNERS, RUNNERS

app = worker_app.app
runners, batch_runners = dict(RUNNERS), dict(BATCH_RUNNERS)


def run_quickly(task: Task) -> JobResult:
    """Runs a small style transfer."""
    if task.params.get("method") == "diffusion":
        few = {"num_inference_steps": 2, "num_images_per_prompt": 1, "style_guidance_scale": 0.1}
        task.params = {**task.params, **few}
        return runners["style-transfer"](task)
    small = {"num_steps": 2, "size": 64, "width": 64, "height": 64, "style_scale": 1.0}
    task.params |= {name: value for name, value in small.items() if task.params.get(name) is not None}
    return runners["style-transfer"](task)


def generate_quickly(task: Task) -> JobResult:
    """Generates few images."""
    _make_few(task)
    return runners["generation"](task)


def generate_together_quickly(tasks: Sequence[Task]) -> Sequence[JobResult | Exception]:
    """Generates a batch of few images each."""
    for task in tasks:
        _make_few(task)
    return batch_runners["generation"](tasks)


def _make_few(task: Task) -> None:
    few = {"num_inference_steps": 2, "n": 2, "averaged": 1, "steps": 3, "num_images_per_prompt": 1}
    asked = {name: task.params[name] for name in few if task.params.get(name)}
    whole = {"strength": 1.0} if "strength" in task.params else {}
    task.params = {**task.params, **{name: min(value, few[name]) for name, value in asked.items()}, **whole}


SMALL = {
    **{"num_steps": 1, "batch_size": 2, "limit": 32, "learning_rate": 1e-3, "latent_dim": 2, "matched": []},
    **{"base_channels": 8, "encoder_channels": 8, "n_blocks": 1, "layers_per_block": 1, "block_out_channels": [32]},
}


def train_quickly(task: Task) -> JobResult:
    """Trains a small model for one step; the plot stays blank, as it takes most of the time."""
    from models.training import run

    run.plot_losses = lambda curve, log=False: Image.new("RGB", (32, 32))  # type: ignore[attr-defined]
    small = {name: value for name, value in SMALL.items() if name in task.params}
    side = {"image_size": 16} if task.params["image_size"] and task.params["recipe"] != "dcgan" else {}
    task.params = {**task.params, **small, **side}
    return runners["training"](task)


def collect_quickly(task: Task) -> JobResult:
    """Collects few images with one k-means of two clusters."""
    few = {"limit": 6} if task.params["data"] else {}
    one = {"clusterings": [{"method": "kmeans", "n_clusters": 2}], "n_components": 2, "explained_variance": None}
    task.params = {**task.params, **few, **one}
    return runners["collection"](task)


RUNNERS["style-transfer"] = run_quickly
RUNNERS["generation"] = generate_quickly
BATCH_RUNNERS["generation"] = generate_together_quickly
RUNNERS["training"] = train_quickly
RUNNERS["collection"] = collect_quickly
