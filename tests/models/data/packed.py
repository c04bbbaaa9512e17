"""Image files, in folders and zip files."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pillow_heif
from PIL import Image

Pack = Callable[[dict[str, bytes]], Path]

RED, GREEN, BLUE = (200, 30, 20), (20, 180, 40), (30, 40, 210)


def image(color: tuple[int, ...] = RED, size: tuple[int, int] = (20, 20), format: str = "PNG") -> bytes:
    return encoded(Image.new("RGB" if len(color) == 3 else "RGBA", size, color), format)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    if format == "HEIC":
        pillow_heif.from_pillow(image).save(file, quality=90)
    else:
        image.save(file, format, **options)
    return file.getvalue()


def zipped(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return folder / "set.zip"


# --- tables ----------------------------------------------------------------------------------------------------------

TWO = {"a.png": image(RED), "b.png": image(BLUE)}
