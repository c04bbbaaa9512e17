"""The error of images that cannot be used."""

from typing import Any


class ImageError(ValueError):
    """An image that cannot be used: a `code` for programs, a `message` for people, and `details`.

    Codes: image_empty, image_format_unsupported, image_unreadable, image_truncated, image_too_small, image_too_large,
    empty_mask, ambiguous_mask.
    """

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def unreadable(image_format: str, problem: str = "'s header cannot be read") -> ImageError:
    """Builds the error `image_unreadable`; `problem` follows "The <format> file"."""
    return ImageError("image_unreadable", f"The {image_format} file{problem}.", format=image_format.lower())


def truncated(image_format: str, problem: str = "'s image data is damaged or cut off") -> ImageError:
    """Builds the error `image_truncated` of a format."""
    return ImageError("image_truncated", f"The {image_format} file{problem}.", format=image_format.lower())
