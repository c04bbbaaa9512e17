"""One style over many images, as one job."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from jobs.errors import BadInput
from jobs.requests.base import MAX_PIXELS, ImageRef, ImageSize, Request, Uses, filled
from jobs.requests.facts import Facts
from jobs.requests.style_base import PreserveColor, Size, Strength, check_shorter_side
from jobs.requests.styles import KIND, AnyStyle, check_trained, trained_styles, with_vectors
from jobs.schemas import ARCHIVE_ID

MAX_MANY = 256  # images of one job
Contents = Annotated[
    Annotated[list[ImageRef], Field(min_length=1, max_length=MAX_MANY), Tag("<list>")]
    | Annotated[
        str,
        Field(
            pattern=ARCHIVE_ID,
            description="The `zip_…` id of an uploaded archive.",
            json_schema_extra={"format": "archive-id"},
        ),
        Tag("<archive>"),
    ],
    Discriminator(
        lambda value: {list: "<list>", str: "<archive>"}.get(type(value)),
        custom_error_type="contents",
        custom_error_message="Input should be a list of images, or the zip_… id of an archive",
    ),
]


class ManyTransfers(Request):
    """Many images in one style, each by one pass of a network: the outputs, which can be downloaded as one zip file."""

    kind: ClassVar[str] = KIND

    mode: Literal["many"]
    method: Annotated[Literal["fast"], Field(description="The method; others take one image a job.")] = "fast"
    contents: Annotated[
        Contents,
        Field(description="The images whose shapes are kept; those of an archive that are damaged are skipped."),
    ]
    style: Annotated[AnyStyle, Field(description="As of method `fast`.")]
    size: Size = 512
    strength: Strength = 1.0
    preserve_color: PreserveColor = "none"
    limit: Annotated[
        int | None, Field(ge=1, le=MAX_MANY, description="Stylize so many at most, the first by name; all when absent.")
    ] = None

    @property
    def queue(self) -> str:
        """That of its method."""
        return "fast"

    @property
    def archive(self) -> str | None:
        """The sha256 of the archive; None for a list."""
        return self.contents.removeprefix("zip_") if isinstance(self.contents, str) else None

    @property
    def n(self) -> int:
        """The most images of a resolved request."""
        return filled(self.limit)

    def resolved(self, facts: Facts) -> "ManyTransfers":
        """Counts the images and copies the vectors of kept styles; raises BadInput for too many images or pixels."""
        given = facts.check_archive(self.archive, "contents") if self.archive else len(self.contents)
        n = min(given, self.limit or given)
        most = min(MAX_MANY, MAX_PIXELS // self.size**2)
        if n > most:
            message = f"contents: {n} images; a job takes {most} of {self.size} pixels. Set `limit`."
            raise BadInput("too_many_images", message, field="contents", allowed=most)
        check_trained(facts, self.style)
        return self.model_copy(update={"style": with_vectors(facts, self.style), "limit": n})

    def uses(self) -> Uses:
        """The archive and the trained styles."""
        archives = (self.archive,) if self.archive else ()
        return Uses(models=tuple(trained_styles(self.style).values()), archives=archives)

    def check_sizes(self, sizes: Mapping[str, ImageSize]) -> None:
        """Raises BadInput for an image of the list that is too narrow."""
        for field, size in sizes.items():
            if field.startswith("contents."):
                check_shorter_side(size, self.size, field)
