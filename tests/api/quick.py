"""The real worker, with every request reduced to small sizes and two steps: fuzzing asks for the largest.

Of each class of requests it runs the first `RUNS`, and cancels those that follow.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, partialmethod
from typing import Any

from PIL import Image

from jobs.requests.base import Request
from jobs.requests.clusterings import KMeans
from jobs.requests.collection import BuildRequest
from jobs.requests.generation_base import GenerationRequest
from jobs.requests.style_diffusion import DiffusionTransfer
from jobs.requests.text_to_image import TextToImage
from jobs.requests.training_base import TrainingRequest
from worker import app as worker_app
from worker import runners
from worker.lease import CanceledError
from worker.run import JobResult, Task

app = worker_app.app
run = runners.run
runs: Counter[type[Request]] = Counter()

RUNS = int(os.environ.get("ATELIER_TEST_EXAMPLES", "10")) // 2

MAX_GENERATION = {"num_inference_steps": 2, "n": 2, "averaged": 1, "steps": 3, "num_images_per_prompt": 1}
DIFFUSION = {"num_inference_steps": 2, "num_images_per_prompt": 1, "style_guidance_scale": 0.1}
STYLE = {"limit": 2, "num_steps": 2, "size": 64, "width": 64, "height": 64, "style_scale": 1.0}
TRAINING = {
    **{"num_steps": 1, "batch_size": 2, "limit": 32, "learning_rate": 1e-3, "latent_dim": 2, "matched": []},
    **{"base_channels": 8, "encoder_channels": 8, "n_blocks": 1, "layers_per_block": 1, "block_out_channels": [32]},
}


def run_quickly(tasks: Sequence[Task[Any]]) -> Iterable[JobResult | Exception]:
    """Runs requests made small, as many of their class as are left; the others are canceled."""
    _shorten()
    request = type(tasks[0].params)
    few = tasks if request is TextToImage else tasks[: max(0, RUNS - runs[request])]  # OpenAI's clients wait for it
    runs[request] += len(few)
    for task in few:
        small, fields = _small(task.params), request.model_fields
        task.params = task.params.model_copy(update={name: small[name] for name in small if name in fields})
    if few:
        yield from run(few)
    yield from [CanceledError()] * (len(tasks) - len(few))


def _small(params: Any) -> dict[str, Any]:
    match params:
        case GenerationRequest():
            fields = MAX_GENERATION.keys() & type(params).model_fields
            asked = {name: getattr(params, name) for name in fields}
            few = {name: min(value, MAX_GENERATION[name]) for name, value in asked.items() if value}
            return few | {"strength": 1.0}
        case DiffusionTransfer():
            return DIFFUSION
        case TrainingRequest():
            side = {"image_size": 16} if params.image_size and params.recipe != "dcgan" else {}
            small = {"data": "avatars", "style_size": 64} if params.data == "photos" else {}
            return TRAINING | side | small
        case BuildRequest():
            few = {"limit": 6} if params.data else {}
            return few | {"clusterings": [KMeans(n_clusters=2)], "n_components": 2, "explained_variance": None}
    return {name: value for name, value in STYLE.items() if getattr(params, name, None) is not None}


@cache
def _shorten() -> None:
    """Replaces what takes most of the time of short jobs and no request can make less."""
    from models.diffusion import style_guidance, unconditional
    from models.diffusion.embedding import Kandinsky
    from models.space import heat_maps, plots
    from models.training import ddpm, lora, run, style
    from worker.runners import arithmetic

    for module in (heat_maps, plots):  # a third of the time of a small collection
        module.ConstrainedLayoutEngine = lambda **_: "none"  # type: ignore[attr-defined]
    run.plot_losses = lambda curve, log=False: Image.new("RGB", (32, 32))  # type: ignore[attr-defined]
    style.BUILTIN_STYLES = 2  # type: ignore[attr-defined]
    style_guidance.STROKE_STEPS = 1
    arithmetic.FITTED = 256
    lora.PREVIEWS = 1
    lora._sampling = lambda architecture: {"num_inference_steps": 2, "guidance_scale": 4.0}
    Kandinsky.decode = partialmethod(Kandinsky.decode, num_inference_steps=2)  # type: ignore[assignment]
    ddpm.denoise = lambda *sample, **_: unconditional.sample(*sample, num_inference_steps=2)  # type: ignore[attr-defined]


runners.run = run_quickly
