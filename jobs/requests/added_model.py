"""A request for a model of one's own: its card, and where its files are fetched from."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator

from cards.schema import CardFields
from jobs.errors import BadInput, Conflict
from jobs.intake.outbound import check_url
from jobs.requests.base import Request, Uses
from jobs.requests.facts import Facts
from jobs.schemas import ARCHIVE_ID


class AddedModel(CardFields, Request):
    """A card to add; its job fetches the files, which all workers then use."""

    kind: ClassVar[str] = "model"

    archive: Annotated[
        str | None,
        Field(
            pattern=ARCHIVE_ID,
            description="An uploaded .safetensors file, instead of `url` or `repository`.",
            json_schema_extra={"format": "weights-id"},
        ),
    ] = None

    vae: Annotated[
        str | None,
        Field(
            pattern=ARCHIVE_ID,
            description="An uploaded .safetensors file with an autoencoder to use instead of that of a checkpoint.",
            json_schema_extra={"format": "weights-id"},
        ),
    ] = None

    @field_validator("url")
    @classmethod
    def _public(cls, url: str | None) -> str | None:
        try:
            check_url(url or "https://public.example")
        except BadInput as error:
            raise ValueError("must be a public https URL") from error
        return url

    @property
    def is_file(self) -> bool:
        """Whether the source is one safetensors file."""
        return super().is_file or self.archive is not None

    def _problems(self) -> Iterator[tuple[str, str]]:
        if not self.sources:
            yield "repository", "or url or archive is needed"
        if self.vae and not self.is_checkpoint:
            yield "vae", "goes with one .safetensors file of a text-to-image model"
        yield from super()._problems()

    @property
    def queue(self) -> str:
        """The queue of long jobs that need no GPU."""
        return "collect"

    def resolved(self, facts: Facts) -> Self:
        """Raises Conflict for an id that is taken, and BadInput for a base or an archive that cannot be used."""
        cards = facts.cards()
        if self.id in cards:
            raise model_exists(self.id)
        known = {card["architecture"].get("base", name): name for name, card in cards.items() if _is_base(card)}
        if self.needs_base and self.base not in known:
            allowed = sorted(known)
            message = f"base: There is no base {self.base!r}; there are {', '.join(allowed)}."
            raise BadInput("unknown_base", message, field="base", allowed=allowed)
        needs_files = self.task == "text-to-image" and self.repository and not self.files
        if needs_files and cards.get(self.base or "", {}).get("source", {}).get("kind") != "hub":
            message = "files: They are needed, as base names no full-size model that is shipped."
            raise BadInput("invalid_request", message, field="files")
        for name in ("archive", "vae"):
            if upload := getattr(self, name):
                facts.check_weights(upload.removeprefix("zip_"), name)
        return self

    def uses(self) -> Uses:
        """The uploaded files."""
        return Uses(archives=tuple(upload.removeprefix("zip_") for upload in (self.archive, self.vae) if upload))

    def stored(self) -> dict[str, Any]:
        """The fields that were given: some defaults of a card depend on whether others were."""
        absent = {"priority", "expires_in", "webhook_url"}
        return self.model_dump(mode="json", exclude_unset=True, exclude=absent)


def _is_base(card: dict[str, Any]) -> bool:
    return bool(card["task"] == "text-to-image")


def model_exists(model_id: str) -> Conflict:
    """The error for the id of a model that there is already."""
    message = f"id: There is a model {model_id!r} already; remove it first, or use another id."
    return Conflict("model_exists", message, field="id", model=model_id)
