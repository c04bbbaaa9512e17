"""Collections: which images, in which space, and what is fitted to their vectors."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AliasChoices,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    TypeAdapter,
    model_validator,
)

from jobs.requests.base import MODEL_ID, ImageRef, Request, Uses, invalid
from jobs.requests.clusterings import Clusterings, KMeans, check_methods, with_bound
from jobs.requests.datasets import SETS, Data, archive_of
from jobs.requests.facts import Facts
from jobs.requests.spaces import NAMED_SPACES, PHOTO, check_encodes, named_space, space_of
from jobs.schemas import ARCHIVE_ID
from jobs.store.registry import NEW

COLLECTION_ID = r"^col_[0-9a-f]{24}$"  # the digits of the job that founded it
MIN_IMAGES = 4  # of a new collection
MapName = Literal["tsne", "umap"]
NAMED_LIMIT = 1000  # images of a named set, which may have 70,000
EXPLAINED_VARIANCE = 0.99


def default_space(given: dict[str, Any]) -> str:
    """The space of a request that names none, by its other fields."""
    if given.get("vectors"):
        return "vectors"
    data = given.get("data")
    return SETS[data].space if data in SETS else PHOTO


class CollectionRouteRequest(Request):
    """A request whose collection is in the path of its route."""

    _collection_id: str = PrivateAttr("")

    def of(self, collection_id: str) -> Self:
        """Sets the collection; returns the request itself."""
        self._collection_id = collection_id
        return self


class ImagesRequest(Request):
    """Images to encode: those of a list, of a named set or of an archive."""

    kind: ClassVar[str] = "collection"

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["images"], "properties": {"images": {"type": "array"}, "data": {"type": "null"}}},
                {
                    "required": ["data"],
                    "properties": {"data": {"type": "string"}, "images": {"type": "null"}, "vectors": {"type": "null"}},
                },
                {"required": ["vectors"], "properties": {"vectors": {"type": "string"}, "images": {"type": "null"}}},
            ]
        }
    )

    images: Annotated[
        list[ImageRef] | None,
        Field(min_length=1, max_length=256, description="The images; equal ones are counted once. Or give `data`."),
    ] = None
    data: Annotated[Data | None, Field(description="A named set, or the `zip_…` id of an uploaded archive.")] = None
    vectors: Annotated[
        str | None,
        Field(
            pattern=ARCHIVE_ID,
            description=(
                "Your own embeddings instead of images to encode: the `zip_…` id of an uploaded npz or parquet file, "
                "with the images in the archive `data`, if there are any."
            ),
            json_schema_extra={"format": "archive-id"},
        ),
    ] = None
    limit: Annotated[
        int | None,
        Field(
            ge=1,
            le=20_000,
            description="Use so many images of `data` at most. When absent, 1000 of a named set and all of an archive.",
        ),
    ] = None

    @property
    def queue(self) -> str:
        """The queue of collections."""
        return "collect"

    @property
    def archive(self) -> str | None:
        """The sha256 of the archive its images are in, if they are in one."""
        return archive_of(self.data)

    @property
    def vector_file(self) -> str | None:
        """The sha256 of the file of embeddings, if it brings these."""
        return self.vectors.removeprefix("zip_") if self.vectors else None

    def check_archive(self, facts: Facts) -> None:
        """Raises NotFound for an archive that is not stored."""
        for field, sha in (("data", self.archive), ("vectors", self.vector_file)):
            if sha:
                facts.check_archive(sha, field)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.images and self.data:
            raise invalid("data", "Give `images` or `data`, not both")
        if self.vectors:
            self._check_vectors()
        elif not self.images and not self.data:
            raise invalid("images", "Give `images`, `data` or `vectors`")
        if self.images and self.limit:
            raise invalid("limit", "All of `images` are used; only `data` takes a limit")
        return self

    def _check_vectors(self) -> None:
        if self.images:
            raise invalid("vectors", "Give `images` or `vectors`, not both")
        if self.data and not self.archive:
            raise invalid("data", "With `vectors` it is an archive with their images")
        if self.limit:
            raise invalid("limit", "All of `vectors` are used")


class BuildRequest(ImagesRequest):
    """All that a version of a collection is made of."""

    name: Annotated[str, Field(min_length=1, max_length=100, description="The name of the collection in lists.")]
    space: Annotated[
        str,
        Field(
            pattern=MODEL_ID,
            description=(
                f"The space: `{'`, `'.join(NAMED_SPACES)}` or the id of a model with an encoder; any for `vectors`. "
                "When absent, the best one of a named set, `photo` for other images and `vectors` for those."
            ),
            json_schema_extra={"format": "space"},
            default_factory=default_space,
        ),
    ]
    image_size: Annotated[
        int | None,
        Field(ge=16, le=256, multiple_of=4, description="Of `pixels`: side of the images; 64 when absent."),
    ] = None
    channels: Annotated[
        Literal[1, 3] | None, Field(description="Of `pixels`: 1 for gray, 3 for color; 3 when absent.")
    ] = None
    n_components: Annotated[
        int | None,
        Field(ge=1, le=512, description="Principal components to keep; by `explained_variance` when absent."),
    ] = None
    explained_variance: Annotated[
        float | None,
        Field(ge=0.5, le=0.9999, description="Keep as many components as explain this share; 0.99 when absent."),
    ] = None
    standardize: Annotated[
        bool | None,
        Field(
            validation_alias=AliasChoices("standardize", "standardise"),
            description="Scale each value to variance 1 first. When absent, yes in the space of a model.",
        ),
    ] = None
    clusterings: Clusterings = [KMeans()]
    maps: Annotated[
        list[MapName],
        Field(min_length=1, max_length=2, description="Two-dimensional maps; plots use the first by default."),
    ] = ["tsne"]

    def uses(self) -> Uses:
        """The model of the space, the archive, and the collection to build."""
        model = named_space(self.space).model
        return Uses(
            models=(model,) if model else (),
            archives=tuple(sha for sha in (self.archive, self.vector_file) if sha),
            builds=getattr(self, "collection", NEW),
        )

    def fitted(self) -> Self:
        """Fills in the defaults that depend on other fields."""
        space = named_space(self.space)
        changed = {
            "image_size": self.image_size or (64 if space.sized else None),
            "channels": self.channels or (3 if space.sized else None),
            "limit": self.limit or (NAMED_LIMIT if self.data in SETS else None),
            "explained_variance": self.explained_variance or (None if self.n_components else EXPLAINED_VARIANCE),
            "standardize": self.standardize if self.standardize is not None else space.standardize and not self.vectors,
            "clusterings": [with_bound(each) for each in self.clusterings],
        }
        return self.model_copy(update=changed)

    @model_validator(mode="after")
    def _used(self) -> Self:
        for field in ("image_size", "channels"):
            if not named_space(self.space).sized and getattr(self, field) is not None:
                raise invalid(field, f"{self.space} has its own; only space pixels takes it")
        if self.vectors and named_space(self.space).sized:
            raise invalid("space", f"{self.space} is made of images; give `vectors` another space")
        if self.n_components and self.explained_variance:
            raise invalid("explained_variance", "The number of components is given by `n_components`")
        check_methods(self.clusterings)
        if len(set(self.maps)) < len(self.maps):
            raise invalid("maps", "Each map may be named once")
        return self


class CollectionParams(BuildRequest):
    """Images encoded into a space, with their principal components and clusters."""

    images: Annotated[
        list[ImageRef] | None,
        Field(
            min_length=MIN_IMAGES,
            max_length=256,
            description="The images; equal ones are counted once. Or give `data`.",
        ),
    ] = None
    limit: Annotated[
        int | None,
        Field(
            ge=MIN_IMAGES,
            le=20_000,
            description="Use so many images of `data` at most. When absent, 1000 of a named set and all of an archive.",
        ),
    ] = None

    def resolved(self, facts: Facts) -> "CollectionParams":
        """Fills in the defaults; raises BadInput for a space that no model has, and NotFound for an archive."""
        self.check_archive(facts)
        if self.vector_file:
            facts.check_vectors(self.vector_file, space_of(facts, self.space).dim, f"the space {self.space}")
        else:
            check_encodes(facts, self.space)
        return self.fitted()


class NextVersion(BuildRequest):
    """What the record of a job that adds images holds: the images, the collection, and how it is made."""

    collection: str


class AdditionParams(ImagesRequest, CollectionRouteRequest):
    """Images to add to a collection, which is fitted anew."""

    clusterings: Annotated[Clusterings | None, Field(description="As before when absent.")] = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        check_methods(self.clusterings or [])
        return self

    def resolved(self, facts: Facts) -> NextVersion:
        """All that the next version is made of; raises NotFound, and Conflict while a job builds the collection."""
        collection = facts.idle_collection(self._collection_id)
        self.check_archive(facts)
        if self.vector_file:
            facts.check_vectors(self.vector_file, collection.versions[-1].figures.get("dim"), "the collection")
        else:
            check_encodes(facts, collection.params["space"])
        return self.next_version(built(collection.params), collection.id)

    def next_version(self, before: BuildRequest, collection_id: str) -> NextVersion:
        """What makes the next version of a collection, whose newest version was made by `before`."""
        kept = before.model_dump(include=BuildRequest.model_fields.keys() - ImagesRequest.model_fields.keys())
        given = self.model_dump(exclude={"clusterings"} if self.clusterings is None else None)
        return NextVersion(**kept | given, collection=collection_id).fitted()


Collection = Annotated[
    Annotated[CollectionParams, Tag("<new>")] | Annotated[NextVersion, Tag("<next>")],
    Discriminator(
        lambda value: "<next>" if (value if isinstance(value, dict) else vars(value)).get("collection") else "<new>"
    ),
]
_STORED: TypeAdapter[CollectionParams | NextVersion] = TypeAdapter(Collection)


def built(params: dict[str, Any]) -> CollectionParams | NextVersion:
    """What made a version of a collection, from the `params` that the store has."""
    return _STORED.validate_python(params)
