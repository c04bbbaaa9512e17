"""The safety filter: scores the images that jobs are given and those that they show, and flags or refuses them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from jobs.errors import AtelierError
from jobs.schemas import SafetyPolicy
from jobs.settings import Settings
from models.safety import MODEL, load_safety, safety_scores

Images = NDArray[np.uint8]  # (n, h, w, 3)
Scores = list[dict[str, Any]]
# Scores have 4 digits, and so has the comparison with the threshold.
DIGITS = 4


@cache
def _network(weights_dir: Path) -> InferenceSession:
    """The classifier of this process; not in the cache of models, since it would evict what it checks."""
    return load_safety(weights_dir)


def load(policy: SafetyPolicy, settings: Settings) -> None:
    """Loads the classifier if the policy needs it, before any work is done. Raises WeightsError."""
    if policy != "off":
        _network(settings.weights_dir)


def judge_inputs(
    policy: SafetyPolicy, settings: Settings, images: Mapping[str, str], read: Callable[[str], NDArray[np.uint8]]
) -> Scores:
    """Returns the scores of a job's input images, from their ids by field, before any work is done.

    Raises AtelierError `input_refused` for the first one at or above the threshold, if the policy is `refuse`.
    """
    scored: Scores = []
    for field, image in images.items() if policy != "off" else ():
        score = score_of(read(image)[None], settings)
        if policy == "refuse" and score >= settings.safety_threshold:
            message, found = _refusal(f"{field}: The image", score, settings)
            raise AtelierError("input_refused", message, field=field, **found)
        scored.append({"field": field, **_scored(score, settings)})
    return scored


def judge(policy: SafetyPolicy, settings: Settings, inputs: Scores, outputs: Sequence[Images]) -> dict[str, Any]:
    """Returns `metrics.safety` of a job from the images of each output; an animation has the score of its worst frame.

    Raises AtelierError `output_refused` for the first output at or above the threshold, if the policy is `refuse`.
    """
    if policy == "off":
        return {}
    scored = []
    for index, images in enumerate(outputs):
        score = score_of(images, settings)
        if policy == "refuse" and score >= settings.safety_threshold:
            message, found = _refusal(f"Output {index}", score, settings)
            raise AtelierError("output_refused", message, index=index, **found)
        scored.append({"index": index, **_scored(score, settings)})
    return {"safety": {"model": MODEL, "threshold": settings.safety_threshold, "inputs": inputs, "outputs": scored}}


def _scored(score: float, settings: Settings) -> dict[str, Any]:
    return {"score": score, "flagged": score >= settings.safety_threshold}


def _refusal(what: str, score: float, settings: Settings) -> tuple[str, dict[str, float]]:
    """The message and the details of a refusal."""
    least = settings.safety_threshold
    return f"{what} has a safety score of {score}, and {least:g} and more is refused.", {
        "score": score,
        "threshold": least,
    }


def score_of(images: Images, settings: Settings) -> float:
    """The highest score among images."""
    return round(max(safety_scores(_network(settings.weights_dir), list(images))), DIGITS)


def hides(policy: SafetyPolicy, settings: Settings, image: NDArray[np.uint8]) -> bool:
    """Whether a preview (h, w, 3) must not be shown: unfinished, it is no reason to end the job."""
    return policy == "refuse" and score_of(image[None], settings) >= settings.safety_threshold
