"""Maps the errors of `models` to the errors that jobs end with: each has one code and one sentence."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jobs.errors import AtelierError
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

MAX_POINTS = 200  # of each loss in the details of a failed training
UNEXPECTED = AtelierError("internal", "Unexpected error; see the worker log.")


@contextmanager
def failures(places: Sequence[str] = (), model: str = "") -> Iterator[None]:
    """Raises the AtelierError of a known error.

    places: the fields or the LoRAs that the `place` of an error counts. model: the id of the model in use.
    """
    try:
        yield
    except Exception as error:
        failure = failure_of(error, places, model)
        if failure is None or failure is error:
            raise
        raise failure from error


def failure_of(error: Exception, places: Sequence[str] = (), model: str = "") -> AtelierError | None:
    """Returns the AtelierError of a known error, see `failures`; None for an unexpected one."""
    if isinstance(error, AtelierError):
        return error
    place = places[getattr(error, "place", 0)] if places else ""
    for kind, describe in _FAILURES.items():
        if isinstance(error, kind):
            return describe(error, place, model)
    return None


def _weights_unavailable(error: WeightsError, place: str, model: str) -> AtelierError:
    return AtelierError("weights_unavailable", str(error), model=error.model_id)


def _bad_data(error: DataError, place: str, model: str) -> AtelierError:
    return AtelierError("bad_data", f"The images cannot be used: {error}.")


def _too_few_members(error: TooFewMembersError, place: str, model: str) -> AtelierError:
    message = str(error)
    return AtelierError("too_few_members", f"{message[0].upper()}{message[1:]}.")


def _cannot_be_fitted(error: SpaceError, place: str, model: str) -> AtelierError:
    return AtelierError("cannot_be_fitted", f"The collection cannot be fitted: {error}.")


def _attributes_not_found(error: AttributesNotFoundError, place: str, model: str) -> AtelierError:
    count = {} if error.found is None else {"found": error.found}
    return AtelierError("attributes_not_found", f"{place}: {error}.", field=place, **count)


def _terms_cancel(error: TermsCancelError, place: str, model: str) -> AtelierError:
    return AtelierError("terms_cancel", f"terms: {error}", field="terms")


def _text_too_long(error: TextTooLongError, place: str, model: str) -> AtelierError:
    return AtelierError("text_too_long", f"{place}: {error}: shorten it.", field=place)


def _lora_unusable(error: LoraError, place: str, model: str) -> AtelierError:
    return AtelierError("lora_unusable", f"LoRA {place} cannot be put on model {model}: {error}.", model=place)


def _addition_unusable(error: AdditionError, place: str, model: str) -> AtelierError:
    return AtelierError("addition_unusable", f"{place} cannot be used with model {model}: {error}.", model=place)


def _diverged(error: DivergedError, place: str, model: str) -> AtelierError:
    return AtelierError("diverged", str(error), **_thinned(error.curve))


def _not_finite(error: NotFiniteError, place: str, model: str) -> AtelierError:
    hint = "A smaller scale, weight or guidance may help; otherwise the model's weights are at fault."
    return AtelierError("not_finite", f"{error} {hint}")


# The first class that an error is an instance of: a subclass stands before its base.
_FAILURES: Mapping[type[Exception], Callable[[Any, str, str], AtelierError]] = {
    WeightsError: _weights_unavailable,
    DataError: _bad_data,
    TooFewMembersError: _too_few_members,
    SpaceError: _cannot_be_fitted,
    AttributesNotFoundError: _attributes_not_found,
    TermsCancelError: _terms_cancel,
    TextTooLongError: _text_too_long,
    LoraError: _lora_unusable,
    AdditionError: _addition_unusable,
    DivergedError: _diverged,
    NotFiniteError: _not_finite,
}


def _thinned(curve: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """At most MAX_POINTS values of each loss, one for `every` so many steps; null for those that are not finite."""
    if not curve:
        return {}
    every = math.ceil(max(map(len, curve.values())) / MAX_POINTS)
    thinned = {
        name: [loss if math.isfinite(loss) else None for loss in losses[::every]] for name, losses in curve.items()
    }
    return {"every": every, "curve": thinned}
