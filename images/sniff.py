"""Recognizes a file's format by its first bytes, never by its name."""

import re

from images.errors import ImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "HEIC", "AVIF")

_MAGIC = re.compile(
    rb"(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<JPEG>\xff\xd8\xff)|(?P<WEBP>RIFF....WEBP)|(?P<GIF>GIF8[79]a)|(?P<BMP>BM)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])",
    re.DOTALL,
)
_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2", b"heif"}
_BOXES = {b"crx ": "a Canon raw photo", b"jxl ": "a JPEG XL image", b"jp2 ": "a JPEG 2000 image"}
_OTHERS = {  # files that users upload by mistake, and image formats that are not supported
    "a PDF document": rb"%PDF",
    "a Photoshop file": rb"8BPS",
    "a PostScript file": rb"%!PS|\xc5\xd0\xd3\xc6",
    "an SVG drawing": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg",
    "a web page": rb"\s*(<!doctype html|<html|<head)",
    "a Windows icon": rb"\0\0[\1\2]\0",
    "a JPEG XL image": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "a JPEG 2000 image": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "a zip archive": rb"PK\x03\x04|PK\x05\x06",
    "a gzip archive": rb"\x1f\x8b",
    "a RAR archive": rb"Rar!",
    "a 7z archive": rb"7z\xbc\xaf",
    "a video": rb"\x1aE\xdf\xa3|RIFF....AVI ",
    "a sound": rb"RIFF....WAVE|ID3|OggS|fLaC",
    "a FITS image": rb"SIMPLE  =",
    "a Netpbm image": rb"P[1-7]\s",
    "an OpenEXR image": rb"\x76\x2f\x31\x01",
    "a Radiance HDR image": rb"#\?RADIANCE",
    "a JSON document": rb'\s*[{\[]\s*["{\[]',
}


def sniff(data: bytes) -> str:
    """Returns the one of `FORMATS` that the first bytes identify.

    Raises ImageError `image_empty` or `image_format_unsupported`; the message names the kind of file if it is known.
    """
    if not data:
        raise ImageError("image_empty", "The image has no bytes.")
    magic = _MAGIC.match(data)
    if magic is not None and magic.lastgroup is not None:
        return magic.lastgroup
    brands = _brands(data)
    if name := _of_brands(brands):
        return name
    allowed = [name.lower() for name in FORMATS]
    what = _name(data, brands)
    is_what = f"The file is {what}, not" if what else "The file is not"
    message = f"{is_what} an image in one of: {', '.join(allowed)}."
    raise ImageError("image_format_unsupported", message, allowed=allowed, **({"found": what} if what else {}))


def _brands(data: bytes) -> list[bytes]:
    """Brands of a file in the ISO base media format (HEIC, AVIF, MP4 ...), the major one first."""
    if data[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(data[:4], "big"), 256, len(data))
    return [data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))]


def _of_brands(brands: list[bytes]) -> str | None:
    if not brands or brands[0] not in _AVIF | _HEIC:
        return None
    # The general brand mif1 is common to both; the others distinguish them.
    telling = [brand for brand in brands if brand not in (b"mif1", b"msf1", b"mif2", b"heif")]
    return "AVIF" if any(brand in _AVIF for brand in telling[:1]) else "HEIC"


def _name(data: bytes, brands: list[bytes]) -> str | None:
    if brands:
        return _BOXES.get(brands[0], "a video")
    head = data[:1024]
    return next((name for name, magic in _OTHERS.items() if re.match(magic, head, re.DOTALL | re.IGNORECASE)), None)
