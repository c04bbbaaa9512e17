"""Runs what optimizes pixels until their VGG features match: style transfers, textures and feature inversions."""

import math
from collections.abc import Callable, Sequence
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
from models.stylize.minimize import Minimized, OptimizationStep
from models.tensors import to_pixels
from models.training.plots import plot_losses
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.fast import blended, has_vector, style_image, stylize
from worker.runners.images import before_after, fit, floats, resized
from worker.runners.loaded import revision_of
from worker.runners.network import loaded_vgg

Array = np.ndarray[Any, np.dtype[np.float32]]
Optimized = GatysTransfer | TextureSynthesis | FeatureInversion
Curve = dict[str, list[float]]  # losses by step, for each optimization of a job


def run_transfer(task: Task[GatysTransfer]) -> JobResult:
    """The stylized content, and where requested its before and after and its loss curve."""
    params = task.params
    vgg = _load_vgg(task, params)
    content = fit(task.read_image(params.content), params.size)
    _check_memory(vgg, content.shape[0], content.shape[1], params.style_scale)
    photo, in_gray = floats(content), params.preserve_color == "luminance"
    styles = [(style_image(task, style), weight) for style, weight in blended(params.style)]

    def finished(image: Tensor) -> Pixels:
        painted = image[0].permute(1, 2, 0).float().numpy(force=True)
        if not in_gray:
            return to_bytes(painted)
        return to_bytes(replace_luminance(floats(resized(content, *painted.shape[:2])), painted))

    curve: Curve = {}
    result = transfer(
        vgg,
        _tensor(to_gray(photo) if in_gray else photo),
        _regions(task, params, content, styles),
        content_weight=params.content_weight,
        style_weight=params.style_weight,
        tv_weight=params.tv_weight,
        content_layers=params.content_layers,
        style_layers=params.style_layers,
        style_losses=dict(params.style_losses.items()),
        style_scale=params.style_scale,
        init=_initial(task, params, content),
        on_step=_reporter(task, curve, finished),
        **_settings(task, params),
    )
    image = finished(result.image)
    images = [OutputImage(image)]
    if params.before_after:
        images.append(before_after(content, [style for style, _ in styles], image))
    return _result(vgg, params, images + _curve(params.loss_curve, curve), _figures(result))


def run_texture(task: Task[TextureSynthesis]) -> JobResult:
    """A texture for each depth of style layers."""
    params = task.params
    vgg = _load_vgg(task, params)
    _check_memory(vgg, params.height, params.width, params.style_scale)
    styles = [Style(_tensor(floats(style_image(task, style))), weight) for style, weight in blended(params.style)]
    depths, results, curve = params.depths, [], Curve()
    for k, layers in enumerate(depths):
        result = texture(
            vgg,
            styles,
            (params.height, params.width),
            tv_weight=params.tv_weight,
            style_layers=layers,
            style_losses=dict(params.style_losses.items()),
            style_scale=params.style_scale,
            on_step=_reporter(task, curve, _pixels, k, len(depths), layers[-1]),
            **_settings(task, params),
        )
        results.append(result)
    deepest = [layers[-1] for layers in depths]
    figures = _figures(results[0]) if len(results) == 1 else _figures_by_layer(results, deepest)
    images = _with_row(results, [f"to {layer}" for layer in deepest], [])
    return _result(vgg, params, images + _curve(params.loss_curve, curve), figures)


def run_inversion(task: Task[FeatureInversion]) -> JobResult:
    """The content reconstructed from the features of each layer."""
    params = task.params
    vgg = _load_vgg(task, params)
    content = fit(task.read_image(params.content), params.size)
    _check_memory(vgg, content.shape[0], content.shape[1])
    layers, results, curve = sorted(params.layers), [], Curve()
    photo = _tensor(floats(content))
    for k, layer in enumerate(layers):
        result = invert(
            vgg,
            photo,
            layer,
            tv_weight=params.tv_weight,
            on_step=_reporter(task, curve, _pixels, k, len(layers), layer),
            **_settings(task, params),
        )
        results.append(result)
    figures = _figures_by_layer(results, layers)
    for layer, result in zip(layers, results, strict=True):
        error = float((result.image.cpu() - photo).square().mean())
        figures["by_layer"][layer]["psnr"] = round(-10 * math.log10(max(error, 1e-12)), 2)
    titles = [
        f"{layer}\nerror {result.parts['content_loss']:.1%}, {figures['by_layer'][layer]['psnr']:.1f} dB"
        for layer, result in zip(layers, results, strict=True)
    ]
    images = _with_row(results, titles, [("content", content)])
    return _result(vgg, params, images + _curve(params.loss_curve, curve), figures)


# --- what goes into an optimization ---------------------------------------------------------------------------------


def _load_vgg(task: Task, params: Optimized) -> VGG:
    vgg = loaded_vgg(task, _model_id(params))
    task.notes["device"] = str(vgg.mean.device)
    return vgg


def _model_id(params: Optimized) -> str:
    return params.model or "vgg16"


def _settings(task: Task, params: Optimized) -> dict[str, Any]:
    """The arguments that the three optimizations share."""
    named = {name: getattr(params, name) for name in ("num_steps", "optimizer", "tolerance")}
    return named | {"seed": folded(task.seed)}


def _regions(
    task: Task, params: GatysTransfer, content: Pixels, styles: Sequence[tuple[Pixels, float]]
) -> list[Region]:
    """The regions of the content by their masks, each with its styles."""
    parts = params.style if isinstance(params.style, list) else []
    masks = [(part.mask, part.style_mask) for part in parts] or [(None, None)]
    photo = floats(content)
    by_mask: dict[str | None, list[Style]] = {}
    for (image, weight), (mask, style_mask) in zip(styles, masks, strict=True):
        cut = None if style_mask is None else _mask(task.read_image(style_mask), image)
        recolored = _tensor(_recolored(floats(image), photo, params.preserve_color))
        by_mask.setdefault(mask, []).append(Style(recolored, weight, cut))
    return [
        Region(region_styles, _mask(task.read_image(mask), content) if mask else None)
        for mask, region_styles in by_mask.items()
    ]


def _initial(task: Task, params: GatysTransfer, content: Pixels) -> Any:
    """The image (1, 3, h, w) that the optimization starts from, or the name of one."""
    if params.init == "fast":
        image = stylize(task, content, params.style)[0]
    elif params.init == "image":
        image = resized(task.read_image(params.init_image or ""), *content.shape[:2])
    else:
        return params.init
    start = floats(image)
    return _tensor(to_gray(start) if params.preserve_color == "luminance" else start)


def _recolored(style: Array, photo: Array, preserve_color: str) -> Array:
    """The style in gray or in the colors of the content, where those are preserved."""
    if preserve_color == "luminance":
        return to_gray(style, like=photo)
    return match_colors(style, photo) if preserve_color == "histogram" else style


def _check_memory(vgg: VGG, height: int, width: int, style_scale: float = 1.0) -> None:
    """Raises AtelierError if an image of this size does not fit into memory, with a size that does."""
    free = available_memory(vgg.mean.device)
    needed = memory_needed(vgg, height, width, style_scale)
    if needed > free:
        fits = int(max(height, width) * math.sqrt(free / needed)) // 16 * 16
        message = f"A size of {max(height, width)} needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
        message += f"ask for {fits} or less."
        raise AtelierError("out_of_memory", message, field="size", size=fits)


def _mask(mask: Pixels, image: Pixels) -> Tensor:
    """(1, 1, h, w): the share of each pixel that a mask marks, at the size of an image."""
    with as_answers():
        marked = read_mask(Image.fromarray(mask))
    return torch.from_numpy(coverage(marked, image.shape[1], image.shape[0]))[None, None]


def _tensor(image: Array) -> Tensor:
    """An image (h, w, 3) as (1, 3, h, w)."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()


# --- what comes out -------------------------------------------------------------------------------------------------


def _reporter(
    task: Task, curve: Curve, shown: Callable[[Tensor], Pixels], index: int = 0, count: int = 1, name: str = "loss"
) -> Callable[[OptimizationStep], None]:
    """A callback that reports the progress of the optimization `index` of `count` and adds its losses to the curve."""

    def on_step(step: OptimizationStep) -> None:
        curve.setdefault(name, []).append(step.loss)
        done = index * step.total + step.step
        message = f"loss {step.loss:.4g}" if count == 1 else f"{name}: loss {step.loss:.4g}"
        task.report_progress(done, count * step.total, message, lambda: shown(step.image()))

    return on_step


def _result(vgg: VGG, params: Optimized, images: list[OutputImage], figures: dict[str, Any]) -> JobResult:
    model = _model_id(params)
    models = {model: revision_of(model)}
    kept = not isinstance(params, FeatureInversion) and has_vector(params.style)
    if kept or (isinstance(params, GatysTransfer) and params.init == "fast"):
        models["fast-arbitrary"] = revision_of("fast-arbitrary")
    metrics = figures | {"model": model, "dtype": str(vgg.compute_dtype).removeprefix("torch.")}
    return JobResult(images, models, versions_of("torch"), metrics)


def _figures(result: Minimized) -> dict[str, Any]:
    return {"loss": result.loss, **result.parts, "steps": result.steps}


def _figures_by_layer(results: Sequence[Minimized], layers: Sequence[str]) -> dict[str, Any]:
    return {"by_layer": {layer: _figures(result) for layer, result in zip(layers, results, strict=True)}}


def _with_row(
    results: Sequence[Minimized], titles: Sequence[str], before: Sequence[tuple[str, Pixels]]
) -> list[OutputImage]:
    """Each image, and for several a row of all, after the images `before` and their titles."""
    optimized = [_pixels(result.image) for result in results]
    images = [OutputImage(pixels) for pixels in optimized]
    if len(optimized) > 1:
        row = np.stack([pixels for _, pixels in before] + optimized)
        titles = [title for title, _ in before] + list(titles)
        images.append(OutputImage(labeled_grid(row[None], [""], titles), "grid"))
    return images


def _curve(requested: bool, curve: Curve) -> list[OutputImage]:
    return [OutputImage(np.asarray(plot_losses(curve, log=True)), "plot")] if requested else []


def _pixels(image: Tensor) -> Pixels:
    pixels: Pixels = to_pixels(image)[0]
    return pixels
