"""The errors that models raise for what a caller can act on. Imports no library, so that every caller can name them.

WeightsError                a model's files are missing or differ from its card
ArchitectureError           a model has another class than its caller needs
DataError                   a data set cannot be used
SpaceError                  vectors do not allow what was requested
└── TooFewMembersError      a cluster or attribute has too few members
AttributesNotFoundError     no image has the requested attributes
TermsCancelError            a sum of latent codes has no direction
TextTooLongError            a text has more tokens than the model reads
LoraError                   a file is not a LoRA of the model
AdditionError               a textual inversion, ControlNet or IP-Adapter does not fit the model
DivergedError               a training or an optimization is no longer finite
NotFiniteError              an image or a weight is NaN or infinite
"""

from collections.abc import Mapping, Sequence


class WeightsError(Exception):
    """A model's files are missing or are not those that its card names; `model_id` is the model's."""

    def __init__(self, model_id: str, message: str) -> None:
        super().__init__(message)
        self.model_id = model_id


class ArchitectureError(ValueError):
    """A model has another class than its caller needs; requests are refused before."""


class DataError(ValueError):
    """Data that cannot be used; the message names the file, row or attribute and what is allowed."""


class SpaceError(ValueError):
    """The vectors do not allow what was requested; the message says why and what they allow."""


class TooFewMembersError(SpaceError):
    """Too few members have the requested cluster or attribute."""


class AttributesNotFoundError(LookupError):
    """Too few images have the requested attributes.

    place: the index of the term that was searched for. found: how many images have its attributes, where it is known.
    """

    def __init__(self, message: str, place: int = 0, found: int | None = None) -> None:
        super().__init__(message)
        self.place = place
        self.found = found


class TermsCancelError(ArithmeticError):
    """The latent codes of a sum cancel, so that the sum has no direction."""


class TextTooLongError(ValueError):
    """A text has more tokens than a model reads; the message gives both counts."""


class LoraError(ValueError):
    """A file cannot be used as a LoRA of a model: `place` is its index among the files."""

    def __init__(self, place: int, message: str) -> None:
        super().__init__(message)
        self.place = place


class AdditionError(ValueError):
    """A file cannot be used as an addition to a model: `place` is its index among the files."""

    def __init__(self, place: int, message: str) -> None:
        super().__init__(message)
        self.place = place


class DivergedError(ArithmeticError):
    """The losses, weights or samples of a training or an optimization are no longer finite.

    curve: every loss of a training so far, by name.
    """

    def __init__(self, message: str, curve: Mapping[str, Sequence[float]] | None = None) -> None:
        super().__init__(message)
        self.curve = curve or {}


class NotFiniteError(ArithmeticError):
    """An image or a weight is NaN or infinite; the message says which."""
