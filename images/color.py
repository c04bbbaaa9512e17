"""Colors of a file as 8-bit sRGB, by its profile where it has a usable one."""

import io
from collections.abc import Callable

from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
_DEVICES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
# Profiles of displays and cameras take some 600 bytes, of scanners and printing presses, whose tables have a fixed
# cost, up to 3 MB. Elements of type mpet are programs for LittleCMS: their length bounds the run time.
_MAX_BYTES = 4 << 20
_MAX_PROGRAM_BYTES = 65_536

ToRGB = Callable[[Image.Image], Image.Image]


def to_srgb(profile: bytes, mode: str) -> ToRGB:
    """A function from an opaque 8-bit image, stored in `mode`, to RGB in sRGB.

    A profile that is for another kind of color, too long or cannot be read is ignored, as browsers do; CMYK is then
    converted by the plain formula.
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
