"""What an uploaded film is: an animated GIF or WebP, or an MP4, by its headers alone."""

from typing import IO

from PIL import Image

from images.film import film_facts
from jobs.errors import BadInput
from jobs.schemas import FilmFile


def inspect_film(file: IO[bytes]) -> FilmFile | None:
    """The facts of a film; None for another file. Raises BadInput `film_unreadable` for a damaged or a still one."""
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    try:
        if head.startswith((b"GIF87a", b"GIF89a")) or (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
            with Image.open(file, formats=("GIF", "WEBP")) as image:
                found = FilmFile(
                    format="gif" if image.format == "GIF" else "webp",
                    width=image.width,
                    height=image.height,
                    n_frames=getattr(image, "n_frames", 1),
                )
        elif head[4:8] == b"ftyp":
            width, height, n_frames = film_facts(file)
            found = FilmFile(format="mp4", width=width, height=height, n_frames=n_frames)
        else:
            return None
    except Exception as error:  # Pillow raises nearly any exception
        raise BadInput("film_unreadable", "The film is damaged or of an unknown kind.") from error
    if found.n_frames < 2:
        raise BadInput("film_unreadable", "It is a still image, not a film: upload it to /v1/images.")
    return found
