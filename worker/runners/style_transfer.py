"""Runs style transfers: `fast` on onnxruntime, the others on torch; a library is loaded by the first job that needs it.

Textures and inversions, which change pixels as `gatys` does, are run in `optimised`, diffusion in `style_diffusion`.
"""

from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import TypeAdapter

from jobs.errors import AtelierError
from jobs.requests.style_diffusion import DiffusionTransfer
from jobs.requests.style_transfer import FastTransfer, StyleTransfer
from jobs.requests.styles import BUILTIN, BUILTIN_NAMES
from jobs.settings import get_settings
from models.catalogue import WeightsError, card, revision
from models.grids import labeled_grid
from models.pixels import to_bytes
from worker.run import Made, Picture, Pixels, Task
from worker.runners.loaded import loaded_model

_PARAMS: TypeAdapter[Any] = TypeAdapter(StyleTransfer)


def run_style_transfer(task: Task) -> Made:
    """The pictures asked for; raises `AtelierError` when weights or memory are missing or the optimisation diverges."""
    params = _PARAMS.validate_python(task.params)
    try:
        if isinstance(params, FastTransfer):
            return _fast(task, params)
        if isinstance(params, DiffusionTransfer):
            from worker.runners.style_diffusion import run_style_diffusion

            return run_style_diffusion(task, params)
        from worker.runners.optimised import run_optimised

        return run_optimised(task, params)
    except WeightsError as error:
        raise AtelierError("weights_unavailable", str(error), model=error.model_id) from error


def _fast(task: Task, params: FastTransfer) -> Made:
    content = fit(task.read_image(params.content), params.size)
    picture, models = fast_picture(task, content, params.style, params.strength, params.preserve_color)
    task.step(1, 1, "done")
    pictures = [Picture(picture)]
    if params.before_after:
        styles = [task.read_image(name) for name, _ in blended(params.style) if not name.startswith(BUILTIN)]
        pictures.append(before_after(content, styles, picture))
    return Made(pictures, {name: revision_of(name) for name in models}, {"onnxruntime": version("onnxruntime")}, {})


def fast_picture(
    task: Task, content: Pixels, style: Any, strength: float = 1.0, preserve_color: str = "none"
) -> tuple[Pixels, list[str]]:
    """The content painted by one pass in the styles of a request, and the cards that did it.

    Built-in styles and images are painted by networks of their own, whose results are mixed by the styles' weights.
    """
    from models.stylize.color import match_colors, replace_luminance
    from models.stylize.fast import device_of, load_arbitrary, load_multistyle, stylize_builtin, stylize_images

    weights_dir = get_settings().weights_dir
    blend, photo = blended(style), floats(content)
    painted: dict[str, tuple[NDArray[np.float32], float]] = {}
    builtin = [(int(name.removeprefix(BUILTIN)), weight) for name, weight in blend if name.startswith(BUILTIN)]
    if builtin:
        weights = np.zeros(len(BUILTIN_NAMES), np.float32)
        for number, weight in builtin:
            weights[number] += weight
        session = loaded_model(task, card("fast-multistyle"), lambda: load_multistyle(weights_dir))
        painted["fast-multistyle"] = stylize_builtin(session, photo, weights, strength), float(weights.sum())
        task.notes.setdefault("device", device_of(session))
    images = [(name, weight) for name, weight in blend if not name.startswith(BUILTIN)]
    if images:
        styles = [(floats(task.read_image(name)), weight) for name, weight in images]
        networks = loaded_model(task, card("fast-arbitrary"), lambda: load_arbitrary(weights_dir))
        painted["fast-arbitrary"] = stylize_images(networks, photo, styles, strength), sum(w for _, w in images)
        task.notes.setdefault("device", device_of(networks.transform))
    picture = _mixed(list(painted.values()))
    if preserve_color == "luminance":
        picture = replace_luminance(photo, picture)
    if preserve_color == "histogram":  # of the result, for a built-in style has no picture to change
        picture = match_colors(picture, photo)
    return to_bytes(picture), list(painted)


def _mixed(painted: list[tuple[NDArray[np.float32], float]]) -> NDArray[np.float32]:
    """The weighted mean of pictures; one alone stays as it is, to the bit."""
    if len(painted) == 1:
        return painted[0][0]
    total = sum(weight for _, weight in painted)
    mixed = np.zeros_like(painted[0][0])
    for picture, weight in painted:
        mixed += picture * np.float32(weight / total)
    return mixed


def before_after(content: Pixels, styles: list[Pixels], result: Pixels) -> Picture:
    """What went in and what came out side by side, each as large as the result."""
    height, width = result.shape[:2]
    shown = [np.asarray(_boxed(picture, width, height)) for picture in (content, *styles, result)]
    names = ["content", *(f"style {k}" if len(styles) > 1 else "style" for k in range(1, len(styles) + 1)), "result"]
    return Picture(labeled_grid(np.stack(shown)[None], [""], names), "grid")


def _boxed(picture: Pixels, width: int, height: int) -> Image.Image:
    """The whole picture on white, in a box of this size."""
    image = Image.fromarray(picture)
    return ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, color="white")


def revision_of(model: str) -> str:
    """What exactly was run: see `models.catalogue.revision`."""
    return revision(card(model), get_settings().weights_dir)


def blended(style: Any) -> list[tuple[str, float]]:
    """Each style of a request and its weight."""
    return [(style, 1.0)] if isinstance(style, str) else [(part.image, part.weight) for part in style]


def fit(pixels: Pixels, size: int) -> Pixels:
    """The picture with `size` pixels on its longer side and its aspect ratio kept."""
    h, w = pixels.shape[:2]
    scale = size / max(h, w)
    return np.asarray(Image.fromarray(pixels).resize((round(w * scale), round(h * scale)), Image.Resampling.LANCZOS))


def floats(pixels: Pixels) -> NDArray[np.float32]:
    """Pictures of 0 to 255 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)
