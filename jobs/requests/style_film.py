"""A film in one style: each frame by one pass of a network, steadied along the optical flow."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from jobs.errors import BadInput
from jobs.requests.base import MAX_PIXELS, Request, Uses
from jobs.requests.facts import Facts
from jobs.requests.style_base import PreserveColor, Size, Strength, check_shorter_side
from jobs.requests.styles import KIND, AnyStyle, check_trained, trained_styles, with_vectors
from jobs.schemas import ARCHIVE_ID, AnimationFormat

MAX_FILM_FRAMES = 1200


class FilmTransfer(Request):
    """An animated GIF or WebP, or an MP4 with its sound, in one style, without flicker.

    Ruder, Dosovitskiy and Brox 2016, "Artistic style transfer for videos".
    """

    kind: ClassVar[str] = KIND

    mode: Literal["film"]
    method: Annotated[Literal["fast"], Field(description="The method.")] = "fast"
    film: Annotated[
        str,
        Field(
            pattern=ARCHIVE_ID,
            description="The `zip_…` id of an animated GIF or WebP, or an MP4, that was uploaded as an archive.",
            json_schema_extra={"format": "film-id"},
        ),
    ]
    style: Annotated[AnyStyle, Field(description="As of method `fast`.")]
    size: Size = 384
    strength: Strength = 1.0
    preserve_color: PreserveColor = "none"
    smoothing: Annotated[
        float,
        Field(
            ge=0,
            le=0.95,
            description="Share of the frame before, moved along the optical flow, in each frame; 0: frame by frame.",
        ),
    ] = 0.9
    format: Annotated[
        AnimationFormat | None, Field(description="File format of the result; that of the film when absent.")
    ] = None  # type: ignore[assignment]  # other files than those of images
    n_frames: Annotated[
        int | None, Field(ge=2, le=MAX_FILM_FRAMES, description="Stylize so many frames at most; all when absent.")
    ] = None

    @property
    def queue(self) -> str:
        """A film takes longer than the jobs of the queue `fast`."""
        return "gpu"

    def resolved(self, facts: Facts) -> "FilmTransfer":
        """Fills in the format and the number of frames; raises BadInput for too many frames or pixels."""
        film = facts.film(self.film.removeprefix("zip_"), "film")
        check_shorter_side((film.width, film.height), self.size)
        n = min(film.n_frames, self.n_frames or film.n_frames)
        scale = self.size / max(film.width, film.height)
        most = min(MAX_FILM_FRAMES, int(MAX_PIXELS / (scale**2 * film.width * film.height)))
        if n > most:
            message = (
                f"film: {n} frames; at {self.size} pixels a job takes {most}. Set `n_frames`, or a smaller `size`."
            )
            raise BadInput("too_many_frames", message, field="film", allowed=most)
        check_trained(facts, self.style)
        changed = {"style": with_vectors(facts, self.style), "n_frames": n, "format": self.format or film.format}
        return self.model_copy(update=changed)

    def uses(self) -> Uses:
        """The film and the trained styles."""
        return Uses(models=tuple(trained_styles(self.style).values()), archives=(self.film.removeprefix("zip_"),))
