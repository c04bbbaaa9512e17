"""Runs what changes pixels until their VGG features are those asked for: transfers, textures and inversions."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from images.mask import coverage, read_mask
from jobs.errors import AtelierError
from jobs.images import as_answers
from jobs.requests.style_transfer import FeatureInversion, GatysTransfer, TextureSynthesis
from models.grids import labeled_grid
from models.memory import available_memory
from models.perceptual.vgg import VGG
from models.pixels import to_bytes
from models.seeds import folded
from models.stylize.color import match_colors, replace_luminance, to_gray
from models.stylize.gatys import Region, Style, invert, memory_needed, texture, transfer
from models.stylize.minimize import Minimized, OptimizationDivergedError, OptimizationStep
from models.tensors import to_pixels
from models.training.plots import plot_losses
from worker.run import Made, Picture, Pixels, Task
from worker.runners.loaded import loaded_vgg
from worker.runners.style_transfer import before_after, blended, fast_picture, fit, floats, revision_of

Curve = dict[str, list[float]]


def run_optimised(task: Task, params: GatysTransfer | TextureSynthesis | FeatureInversion) -> Made:
    """The pictures of one request and their losses; raises `AtelierError` when it diverges or would not fit."""
    model: str = params.model or "vgg16"
    vgg = loaded_vgg(task, model)
    task.notes["device"] = str(vgg.mean.device)
    with _failing():
        if isinstance(params, GatysTransfer):
            pictures, metrics = _transfer(task, vgg, params)
        elif isinstance(params, TextureSynthesis):
            pictures, metrics = _texture(task, vgg, params)
        else:
            pictures, metrics = _inversion(task, vgg, params)
    metrics |= {"model": model, "dtype": str(vgg.compute_dtype).removeprefix("torch.")}
    models = {model: revision_of(model)}
    if isinstance(params, GatysTransfer) and params.init == "fast":
        models["fast-arbitrary"] = revision_of("fast-arbitrary")
    return Made(pictures, models, {"torch": version("torch")}, metrics)


def _transfer(task: Task, vgg: VGG, params: GatysTransfer) -> tuple[list[Picture], dict[str, Any]]:
    content = fit(task.read_image(params.content), params.size)
    _check_memory(vgg, content.shape[0], content.shape[1], params.style_scale)
    parts = [] if isinstance(params.style, str) else params.style
    styles = [(task.read_image(name), weight) for name, weight in blended(params.style)]
    masks = [(part.mask, part.style_mask) for part in parts] or [(None, None)]
    photo, in_grey = floats(content), params.preserve_color == "luminance"
    regions: dict[str | None, list[Style]] = {}
    for (picture, weight), (mask, style_mask) in zip(styles, masks, strict=True):
        cut = None if style_mask is None else _mask(task.read_image(style_mask), picture.shape)
        painted_with = _tensor(_in_colours_of(photo, floats(picture), params.preserve_color))
        regions.setdefault(mask, []).append(Style(painted_with, weight, cut))
    starts: dict[str, Callable[[], Pixels]] = {
        "fast": lambda: fast_picture(task, content, params.style)[0],
        "image": lambda: np.asarray(_resized(task.read_image(params.init_image or ""), content.shape)),
    }
    init: Any = params.init
    if init in starts:
        start = floats(starts[init]())
        init = _tensor(to_gray(start) if in_grey else start)

    def finished(image: Tensor) -> Pixels:
        painted = image[0].permute(1, 2, 0).float().numpy(force=True)
        if not in_grey:
            return to_bytes(painted)
        return to_bytes(replace_luminance(floats(np.asarray(_resized(content, painted.shape))), painted))

    curve: Curve = {}
    result = transfer(
        vgg,
        _tensor(to_gray(photo) if in_grey else photo),
        [
            Region(found, _mask(task.read_image(mask), content.shape) if mask else None)
            for mask, found in regions.items()
        ],
        content_weight=params.content_weight,
        style_weight=params.style_weight,
        tv_weight=params.tv_weight,
        content_layers=params.content_layers,
        style_layers=params.style_layers,
        style_losses=dict(params.style_losses.items()),
        style_scale=params.style_scale,
        init=init,
        on_step=_told(task, curve, finished),
        **_settings(task, params),
    )
    picture = finished(result.image)
    pictures = [Picture(picture)]
    if params.before_after:
        pictures.append(before_after(content, [style for style, _ in styles], picture))
    return pictures + _curve(params.loss_curve, curve), _figures(result)


def _texture(task: Task, vgg: VGG, params: TextureSynthesis) -> tuple[list[Picture], dict[str, Any]]:
    _check_memory(vgg, params.height, params.width, params.style_scale)
    styles = [Style(_tensor(floats(task.read_image(name))), weight) for name, weight in blended(params.style)]
    depths, made, curve = params.depths, [], Curve()
    for k, layers in enumerate(depths):
        result = texture(
            vgg,
            styles,
            (params.height, params.width),
            tv_weight=params.tv_weight,
            style_layers=layers,
            style_losses=dict(params.style_losses.items()),
            style_scale=params.style_scale,
            on_step=_told(task, curve, _pixels, k, len(depths), layers[-1]),
            **_settings(task, params),
        )
        made.append(result)
    titles = [f"to {layers[-1]}" for layers in depths]
    figures = _figures(made[0]) if len(made) == 1 else _ladder_figures(made, [layers[-1] for layers in depths])
    return _ladder(made, titles, []) + _curve(params.loss_curve, curve), figures


def _inversion(task: Task, vgg: VGG, params: FeatureInversion) -> tuple[list[Picture], dict[str, Any]]:
    content = fit(task.read_image(params.content), params.size)
    _check_memory(vgg, content.shape[0], content.shape[1])
    layers, made, curve = sorted(params.layers), [], Curve()
    photo = _tensor(floats(content))
    for k, layer in enumerate(layers):
        result = invert(
            vgg,
            photo,
            layer,
            tv_weight=params.tv_weight,
            on_step=_told(task, curve, _pixels, k, len(layers), layer),
            **_settings(task, params),
        )
        made.append(result)
    errors = [float((result.image.cpu() - photo).square().mean()) for result in made]
    figures = _ladder_figures(made, layers)
    for layer, error in zip(layers, errors, strict=True):
        figures["by_layer"][layer]["psnr"] = round(-10 * math.log10(max(error, 1e-12)), 2)
    titles = [
        f"{layer}\nerror {result.parts['content_loss']:.1%}, {figures['by_layer'][layer]['psnr']:.1f} dB"
        for layer, result in zip(layers, made, strict=True)
    ]
    return _ladder(made, titles, [("content", content)]) + _curve(params.loss_curve, curve), figures


# --- parts ----------------------------------------------------------------------------------------------------------


def _settings(task: Task, params: GatysTransfer | TextureSynthesis | FeatureInversion) -> dict[str, Any]:
    """What the three modes hand on alike."""
    named = {name: getattr(params, name) for name in ("num_steps", "optimizer", "tolerance")}
    return named | {"seed": folded(task.params["seed"])}


def _told(
    task: Task, curve: Curve, shown: Callable[[Tensor], Pixels], place: int = 0, places: int = 1, name: str = "loss"
) -> Callable[[OptimizationStep], None]:
    """Tells of each step, as part `place` of `places`, and draws its loss into the curve."""

    def on_step(step: OptimizationStep) -> None:
        curve.setdefault(name, []).append(step.loss)
        done = place * step.total + step.step
        message = f"loss {step.loss:.4g}" if places == 1 else f"{name}: loss {step.loss:.4g}"
        task.step(done, places * step.total, message, lambda: shown(step.image()))

    return on_step


def _figures(result: Minimized) -> dict[str, Any]:
    return {"loss": result.loss, **result.parts, "steps": result.steps}


def _ladder_figures(made: Sequence[Minimized], layers: Sequence[str]) -> dict[str, Any]:
    return {"by_layer": {layer: _figures(result) for layer, result in zip(layers, made, strict=True)}}


def _ladder(made: Sequence[Minimized], titles: Sequence[str], before: Sequence[tuple[str, Pixels]]) -> list[Picture]:
    """Each picture, and where there are several a grid of all, with what they were made from before them."""
    found = [_pixels(result.image) for result in made]
    pictures = [Picture(pixels) for pixels in found]
    if len(found) > 1:
        row = np.stack([pixels for _, pixels in before] + found)
        pictures.append(Picture(labeled_grid(row[None], [""], [name for name, _ in before] + list(titles)), "grid"))
    return pictures


def _curve(asked: bool, curve: Curve) -> list[Picture]:
    return [Picture(np.asarray(plot_losses(curve, log=True)), "plot")] if asked else []


def _in_colours_of(photo: np.ndarray, style: np.ndarray, preserve_color: str) -> np.ndarray:
    """The style as it is painted with: grey, or in the content's colours, where those are to be kept."""
    if preserve_color == "luminance":
        return to_gray(style, like=photo)
    return match_colors(style, photo) if preserve_color == "histogram" else style


def _check_memory(vgg: VGG, height: int, width: int, style_scale: float = 1.0) -> None:
    """Raises AtelierError if a picture of this size would not fit, with the size that would."""
    free = available_memory(vgg.mean.device)
    needed = memory_needed(vgg, height, width, style_scale)
    if needed > free:
        fits = int(max(height, width) * math.sqrt(free / needed)) // 16 * 16
        message = f"A size of {max(height, width)} needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
        message += f"ask for {fits} or less."
        raise AtelierError("out_of_memory", message, field="size", size=fits)


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except OptimizationDivergedError as error:
        raise AtelierError("diverged", str(error)) from error


def _resized(picture: Pixels, shape: Sequence[int]) -> Image.Image:
    return Image.fromarray(picture).resize((shape[1], shape[0]), Image.Resampling.LANCZOS)


def _mask(pixels: Pixels, shape: Sequence[int]) -> Tensor:
    """(1, 1, h, w): the share of each pixel that a mask marks, at the size of an image."""
    with as_answers():
        marked = read_mask(Image.fromarray(pixels))
    return torch.from_numpy(coverage(marked, shape[1], shape[0]))[None, None]


def _tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()


def _pixels(image: Tensor) -> Pixels:
    pixels: Pixels = to_pixels(image)[0]
    return pixels
