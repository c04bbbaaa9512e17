"""Runs style transfers of the method `fast`: one pass of a network on onnxruntime, without torch."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.requests.style_transfer import FastTransfer
from jobs.requests.styles import BUILTIN, BUILTIN_NAMES, TRAINED, StyleVector
from jobs.settings import get_settings
from models.catalogue import Card, card, revision
from models.pixels import to_bytes
from models.sessions import available_cores, device_of
from models.stylize.color import match_colors, replace_luminance
from models.stylize.fast import (
    ArbitraryNet,
    load_arbitrary,
    load_multistyle,
    load_trained,
    stylize_builtin,
    stylize_images,
    stylize_vector,
)
from models.stylize.texture import texture
from worker.libraries import versions_of
from worker.run import JobResult, OutputImage, Pixels, Task
from worker.runners.images import before_after, fit, floats
from worker.runners.loaded import loaded_model, revision_of

Blend = list[tuple[str | StyleVector, float]]  # an image, a built-in style or an embedding, and its weight
ANY_STYLE = np.eye(1, len(BUILTIN_NAMES), dtype=np.float32)[0]  # in a trained network all are the same
Stylized = tuple[NDArray[np.float32], float]  # an image (h, w, 3) in [0, 1] and the sum of the weights of its styles


def run_fast(tasks: Sequence[Task[FastTransfer]]) -> Iterator[JobResult | Exception]:
    """Yields for each task the stylized image, and where requested a grid of what it was made from.

    A batch runs an image on each core, which is faster than one image on all cores.
    """
    if len(tasks) == 1:
        yield _transferred(tasks[0])
        return
    with ThreadPoolExecutor(available_cores()) as pool:
        for running in [pool.submit(_transferred, task) for task in tasks]:
            error = running.exception()
            yield error if isinstance(error, Exception) else running.result()


def _transferred(task: Task[FastTransfer]) -> JobResult:
    params = task.params
    content = fit(task.read_image(params.content), params.size)
    image, models = stylize(task, content, params.style, params.strength, params.preserve_color)
    task.report_progress(1, 1, "done")
    images = [OutputImage(image)]
    if params.before_after:
        styles = [style_image(task, style) for style, _ in blended(params.style) if not _is_named(style)]
        images.append(before_after(content, styles, image))
    return JobResult(images, models, versions_of("onnxruntime"), {})


def stylize(
    task: Task, content: Pixels, style: Any, strength: float = 1.0, preserve_color: str = "none"
) -> tuple[Pixels, dict[str, str]]:
    """The content in the styles of a request, and the models that were used (id to revision).

    Built-in styles, images and each trained style have a network, whose results are averaged by the styles' weights.
    """
    blend, photo = blended(style), floats(content)
    builtin = [(str(style), weight) for style, weight in blend if _is_builtin(style)]
    others = [(style, weight) for style, weight in blend if not _is_named(style)]
    stylized: list[Stylized] = []
    models: dict[str, str] = {}
    if builtin:
        stylized.append(_in_builtin_styles(task, photo, builtin, strength))
        models["fast-multistyle"] = revision_of("fast-multistyle")
    if others:
        stylized.append(_in_other_styles(task, photo, others, strength))
        models["fast-arbitrary"] = revision_of("fast-arbitrary")
    for name, weight in ((str(style), weight) for style, weight in blend if _is_trained(style)):
        trained = task.find_model(name)
        stylized.append((_in_trained_style(task, photo, trained, strength), weight))
        models[name] = revision(trained, get_settings().weights_dir)
    image = _weighted_mean(stylized)
    if preserve_color == "luminance":
        image = replace_luminance(photo, image)
    if preserve_color == "histogram":  # of the result, since a built-in style has no image whose colors could change
        image = match_colors(image, photo)
    return to_bytes(image), models


def blended(style: Any) -> Blend:
    """Each style of a request and its weight."""
    return [(part.image, part.weight) for part in style] if isinstance(style, list) else [(style, 1.0)]


def style_image(task: Task, style: str | StyleVector) -> Pixels:
    """The image of a style: the uploaded one, or a gray texture that the embedding paints."""
    if isinstance(style, str):
        return task.read_image(style)
    return to_bytes(stylize_vector(_arbitrary(task), texture(), np.asarray(style.vector, np.float32)))


def has_vector(style: Any) -> bool:
    """Whether one of the styles of a request is an embedding, which `fast-arbitrary` paints."""
    return any(isinstance(each, StyleVector) for each, _ in blended(style))


def _is_builtin(style: str | StyleVector) -> bool:
    return isinstance(style, str) and style.startswith(BUILTIN)


def _is_trained(style: str | StyleVector) -> bool:
    return isinstance(style, str) and style.startswith(TRAINED)


def _is_named(style: str | StyleVector) -> bool:
    """Whether a style is a network's own, without an image."""
    return _is_builtin(style) or _is_trained(style)


def _in_builtin_styles(
    task: Task, photo: NDArray[np.float32], blend: list[tuple[str, float]], strength: float
) -> Stylized:
    weights = np.zeros(len(BUILTIN_NAMES), np.float32)
    for name, weight in blend:
        weights[int(name.removeprefix(BUILTIN))] += weight
    weights_dir = get_settings().weights_dir
    session = loaded_model(task, card("fast-multistyle"), lambda: load_multistyle(weights_dir))
    task.notes.setdefault("device", device_of(session))
    return stylize_builtin(session, photo, weights, strength), float(weights.sum())


def _in_trained_style(task: Task, photo: NDArray[np.float32], trained: Card, strength: float) -> NDArray[np.float32]:
    weights_dir = get_settings().weights_dir
    session = loaded_model(task, trained, lambda: load_trained(trained, weights_dir))
    task.notes.setdefault("device", device_of(session))
    return stylize_builtin(session, photo, ANY_STYLE, strength)


def _in_other_styles(task: Task, photo: NDArray[np.float32], blend: Blend, strength: float) -> Stylized:
    styles = [(_image_or_vector(task, style), weight) for style, weight in blend]
    return stylize_images(_arbitrary(task), photo, styles, strength), sum(weight for _, weight in blend)


def _image_or_vector(task: Task, style: str | StyleVector) -> NDArray[np.float32]:
    return floats(task.read_image(style)) if isinstance(style, str) else np.asarray(style.vector, np.float32)


def _arbitrary(task: Task) -> ArbitraryNet:
    weights_dir = get_settings().weights_dir
    networks = loaded_model(task, card("fast-arbitrary"), lambda: load_arbitrary(weights_dir))
    task.notes.setdefault("device", device_of(networks.transform))
    return networks


def _weighted_mean(stylized: list[Stylized]) -> NDArray[np.float32]:
    """The weighted mean of images; a single image stays the same to the bit."""
    if len(stylized) == 1:
        return stylized[0][0]
    total = sum(weight for _, weight in stylized)
    mean = np.zeros_like(stylized[0][0])
    for image, weight in stylized:
        mean += image * np.float32(weight / total)
    return mean
