"""The content image of a request in a space of styles, whose decoder paints it."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field

from jobs.errors import BadInput
from jobs.requests.base import MAX_PIXELS, ImageRef, ImageSize, Request
from jobs.requests.facts import Facts
from jobs.requests.spaces import NAMED_SPACES, space_of
from jobs.requests.style_base import check_shorter_side

CONTENT_SIZE = 384  # which the transfer network paints in one pass
PHOTO = "photo"


class ContentRequest(Request):
    """A request that decodes vectors, in a space of styles by painting a content image with each."""

    content: Annotated[
        ImageRef | None, Field(description="In the space `style`: the image to paint; a photo that ships when absent.")
    ] = None
    size: Annotated[
        int | None,
        Field(
            ge=64,
            le=1024,
            description=f"In the space `style`: the longer side of the images; {CONTENT_SIZE} when absent.",
        ),
    ] = None

    def painting(self, facts: Facts, space: str, n_images: int) -> Self:
        """Fills in the size in a space of styles; raises BadInput for a content, size or photo in another space."""
        if space_of(facts, space).takes_content:
            size = self.size or CONTENT_SIZE
            if n_images * size**2 > MAX_PIXELS:
                most = min(1024, int((MAX_PIXELS / n_images) ** 0.5))
                message = f"size: {n_images} images may have a size of at most {most}."
                raise BadInput("too_many_pixels", message, field="size", allowed=most)
            return self.model_copy(update={"size": size})
        given = {"content": self.content, "size": self.size, "start": getattr(self, "start", None) == PHOTO}
        if field := next((field for field, value in given.items() if value), None):
            check_takes_content(facts, field, space)
        return self

    def check_sizes(self, sizes: Mapping[str, ImageSize]) -> None:
        """Raises BadInput for a content too narrow."""
        super().check_sizes(sizes)
        if self.size and "content" in sizes:
            check_shorter_side(sizes["content"], self.size)


def check_takes_content(facts: Facts, field: str, space: str) -> None:
    """Raises BadInput for a field of the content in a space that paints none."""
    if not space_of(facts, space).takes_content:
        named = ", ".join(name for name, known in NAMED_SPACES.items() if known.takes_content)
        raise BadInput("no_content", f"{field}: The space {space} paints no content image; {named} does.", field=field)
