"""Each error of `models` is one error of a job; the others stay as they are."""

import math
from typing import Any

import pytest

from jobs.errors import AtelierError, NotFound
from models.errors import (
    AdditionError,
    AttributesNotFoundError,
    DataError,
    DivergedError,
    LoraError,
    NotFiniteError,
    SpaceError,
    TermsCancelError,
    TextTooLongError,
    TooFewMembersError,
    WeightsError,
)
from worker.failures import MAX_POINTS, failure_of, failures

HINT = "A smaller scale, weight or guidance may help; otherwise the model's weights are at fault."
CASES: list[tuple[Exception, str, str, dict[str, Any]]] = [
    (WeightsError("vae", "It is missing."), "weights_unavailable", "It is missing.", {"model": "vae"}),
    (DataError("no images"), "bad_data", "The images cannot be used: no images.", {}),
    (TooFewMembersError("cluster 1 is small"), "too_few_members", "Cluster 1 is small.", {}),
    (SpaceError("all are the same"), "cannot_be_fitted", "The collection cannot be fitted: all are the same.", {}),
    (AttributesNotFoundError("none", 1, 0), "attributes_not_found", "b: none.", {"field": "b", "found": 0}),
    (AttributesNotFoundError("none"), "attributes_not_found", "a: none.", {"field": "a"}),
    (TermsCancelError("They cancel."), "terms_cancel", "terms: They cancel.", {"field": "terms"}),
    (TextTooLongError("9 tokens"), "text_too_long", "a: 9 tokens: shorten it.", {"field": "a"}),
    (
        AdditionError(0, "it is empty"),
        "addition_unusable",
        "a cannot be used with model m: it is empty.",
        {"model": "a"},
    ),
    (LoraError(1, "it lacks B"), "lora_unusable", "LoRA b cannot be put on model m: it lacks B.", {"model": "b"}),
    (DivergedError("The loss is nan."), "diverged", "The loss is nan.", {}),
    (NotFiniteError("It is NaN."), "not_finite", f"It is NaN. {HINT}", {}),
]


@pytest.mark.parametrize(("error", "code", "message", "details"), CASES)
def test_an_error_of_models_has_one_code(error: Exception, code: str, message: str, details: dict[str, Any]) -> None:
    with pytest.raises(AtelierError) as caught, failures(["a", "b"], "m"):
        raise error
    assert caught.value.as_dict() == {"code": code, "message": message, "details": details}
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [NotFound("image_not_found", "It is gone."), KeyError("x")])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, failures():
        raise error
    assert caught.value is error
    assert failure_of(error) is (error if isinstance(error, AtelierError) else None)


def test_the_losses_of_a_diverged_training_are_thinned() -> None:
    curve = {"loss": [float(k) for k in range(3 * MAX_POINTS)], "kl": [math.nan]}
    failure = failure_of(DivergedError("It diverged.", curve))
    assert failure is not None and failure.details["every"] == 3
    assert failure.details["curve"] == {"loss": [float(k) for k in range(0, 3 * MAX_POINTS, 3)], "kl": [None]}
