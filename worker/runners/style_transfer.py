"""Runs style transfers: `fast` on onnxruntime, `gatys` on torch; a library is loaded by the first job that needs it."""

from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from jobs.errors import AtelierError
from jobs.settings import get_settings
from jobs.style_transfer import BUILTIN_STYLES, DiffusionTransfer, FastTransfer, GatysTransfer, StyleTransferParams
from models.catalogue import WeightsError, card, file_sha256
from worker.run import Made, Picture, Pixels, Task

_PARAMS: TypeAdapter[FastTransfer | GatysTransfer | DiffusionTransfer] = TypeAdapter(StyleTransferParams)


def run_style_transfer(task: Task) -> Made:
    """One stylised picture; raises `AtelierError` when weights are missing or the optimisation diverges."""
    params = _PARAMS.validate_python(task.params)
    if isinstance(params, DiffusionTransfer):
        from worker.runners.style_diffusion import run_style_diffusion

        return run_style_diffusion(task, params)
    content = fit(task.read_image(params.content), params.size)
    try:
        return _fast(task, params, content) if isinstance(params, FastTransfer) else _gatys(task, params, content)
    except WeightsError as error:
        raise AtelierError("weights_unavailable", str(error), model=error.model_id) from error


def _fast(task: Task, params: FastTransfer, content: Pixels) -> Made:
    from models.stylize.fast import load_fast, stylize_builtin, stylize_images

    with task.loading():
        network = once(load_fast)
    task.notes["device"] = "cpu"
    blend = blended(params.style)
    if blend[0][0].startswith("builtin:"):
        weights = np.zeros(BUILTIN_STYLES, np.float32)
        for name, weight in blend:
            weights[int(name.removeprefix("builtin:"))] += weight
        picture, model = stylize_builtin(network, _floats(content), weights, params.strength), "fast-multistyle"
    else:
        styles = [(_floats(task.read_image(name)), weight) for name, weight in blend]
        picture, model = stylize_images(network, _floats(content), styles, params.strength), "fast-arbitrary"
    task.step(1, 1, "done")
    return Made([Picture(_bytes(picture))], {model: revision(model)}, {"onnxruntime": version("onnxruntime")}, {})


def _gatys(task: Task, params: GatysTransfer, content: Pixels) -> Made:
    import torch

    from models.perceptual.vgg import load_vgg
    from models.stylize.gatys import DivergedError, Step, transfer

    def tensor(pixels: Pixels) -> torch.Tensor:
        return torch.from_numpy(_floats(pixels)).permute(2, 0, 1)[None].contiguous()

    def pixels(image: torch.Tensor) -> Pixels:
        return _bytes(image[0].permute(1, 2, 0).numpy(force=True))

    def on_step(step: Step) -> None:
        task.step(step.step, step.total, f"loss {step.loss:.4g}", lambda: pixels(step.image()))

    model = params.model or "vgg16"
    with task.loading():
        vgg = once(load_vgg, model)
    task.notes["device"] = str(next(vgg.parameters()).device)
    styles = [(tensor(task.read_image(name)), weight) for name, weight in blended(params.style)]
    try:
        result = transfer(
            vgg,
            tensor(content),
            styles,
            content_weight=params.content_weight,
            style_weight=params.style_weight,
            tv_weight=params.tv_weight,
            content_layers=params.content_layers,
            style_layers=params.style_layers,
            num_steps=params.num_steps,
            optimizer=params.optimizer,
            init=params.init,
            seed=task.params["seed"],
            on_step=on_step,
        )
    except DivergedError as error:
        raise AtelierError("diverged", str(error)) from error
    metrics = {name: getattr(result, name) for name in ("loss", "content_loss", "style_loss", "tv_loss")}
    metrics |= {"model": model, "dtype": str(vgg.compute_dtype).removeprefix("torch.")}
    return Made([Picture(pixels(result.image))], {model: revision(model)}, {"torch": version("torch")}, metrics)


@cache
def once(load: Any, *arguments: str) -> Any:
    """A model, loaded by the first job that asks for it and kept."""
    return load(*arguments, weights_dir=get_settings().weights_dir)


def revision(model: str) -> str:
    """What exactly was run: the first digits of the sha256 of each of the model's files."""
    weights_dir = get_settings().weights_dir
    return "+".join(file_sha256(weights_dir / model / name)[:16] for name in card(model).files)


def blended(style: Any) -> list[tuple[str, float]]:
    """Each style of a request and its weight."""
    return [(style, 1.0)] if isinstance(style, str) else [(part.image, part.weight) for part in style]


def fit(pixels: Pixels, size: int) -> Pixels:
    """The picture with `size` pixels on its longer side and its aspect ratio kept."""
    h, w = pixels.shape[:2]
    scale = size / max(h, w)
    return np.asarray(Image.fromarray(pixels).resize((round(w * scale), round(h * scale)), Image.Resampling.LANCZOS))


def _floats(pixels: Pixels) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _bytes(picture: NDArray[np.float32]) -> Pixels:
    return (picture * 255).round().clip(0, 255).astype(np.uint8)
