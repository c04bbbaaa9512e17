"""The safety filter: scores what jobs show, and flags or refuses it as their policy says."""

from collections.abc import Sequence
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


def judge(policy: SafetyPolicy, settings: Settings, outputs: Sequence[Images]) -> dict[str, Any]:
    """Returns `metrics.safety` of a job from the images of each output; an animation has the score of its worst frame.

    Raises AtelierError `output_refused` for the first output at or above the threshold, if the policy is `refuse`.
    """
    if policy == "off":
        return {}
    least = settings.safety_threshold
    scored = []
    for index, images in enumerate(outputs):
        score = score_of(images, settings)
        if policy == "refuse" and score >= least:
            message = f"Output {index} has a safety score of {score}, and {least:g} and more is refused."
            raise AtelierError("output_refused", message, index=index, score=score, threshold=least)
        scored.append({"index": index, "score": score, "flagged": score >= least})
    return {"safety": {"model": MODEL, "threshold": least, "outputs": scored}}


def score_of(images: Images, settings: Settings) -> float:
    """The highest score among images."""
    return round(max(safety_scores(_network(settings.weights_dir), list(images))), DIGITS)


def hides(policy: SafetyPolicy, settings: Settings, image: NDArray[np.uint8]) -> bool:
    """Whether a preview (h, w, 3) must not be shown: unfinished, it is no reason to end the job."""
    return policy == "refuse" and score_of(image[None], settings) >= settings.safety_threshold
