"""Converts colors to 8-bit sRGB, by the color profile of the file where it has a usable one."""

import io
from collections.abc import Callable

from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
_DEVICES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
# Profiles of displays and cameras have some 600 bytes; those of scanners and printing presses up to 3 MB, in tables
# whose cost is fixed. Elements of type mpet are programs for LittleCMS: their length bounds the run time.
_MAX_BYTES = 4 << 20
_MAX_PROGRAM_BYTES = 65_536

ToRGB = Callable[[Image.Image], Image.Image]


def to_srgb(profile: bytes, mode: str) -> ToRGB:
    """Returns a function that converts an opaque 8-bit image of this mode to RGB in sRGB.

    A profile that is for another mode, too long or unreadable is ignored, as in browsers; CMYK is then converted by the
    formula without a profile.
    """
    device = _DEVICES.get(profile[16:20])
    fits = device is not None and (device == mode or (device == "RGB" and mode != "CMYK"))
    transform = _transform(profile, device) if device and fits else None
    if device is None or transform is None:
        return lambda image: image.convert("RGB")
    to_srgb = transform
    return lambda image: to_srgb.apply(image.convert(device))


def _transform(profile: bytes, device: str) -> ImageCms.ImageCmsTransform | None:
    if len(profile) > (_MAX_PROGRAM_BYTES if b"mpet" in profile else _MAX_BYTES):
        return None
    try:
        return ImageCms.buildTransform(ImageCms.ImageCmsProfile(io.BytesIO(profile)), _SRGB, device, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
