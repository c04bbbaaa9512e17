"""A request for the members of a collection that are nearest to an image, a member, a text or a vector."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from jobs.errors import BadInput
from jobs.requests.base import ImageRef, Request, Uses, check_attribute, invalid, whole
from jobs.requests.clusterings import Method
from jobs.requests.collection import CollectionRouteRequest
from jobs.requests.facts import Facts
from jobs.requests.spaces import Space, space_of
from jobs.requests.steering import check_cluster, clustering_of

QUERIES = ("image", "member", "text", "vector")
Attributes = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={"format": "attribute"})]],
    Field(max_length=20),
]


class _Search(Request):
    kind: ClassVar[str] = "collection-search"

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [query]} for query in QUERIES]})

    version: Annotated[int | None, Field(ge=1, description="The newest when absent.")] = None
    image: Annotated[ImageRef | None, Field(description="Members like this image, which is encoded.")] = None
    member: Annotated[
        int | None,
        Field(ge=0, description="Members like this one, by its `id`; it is not among them."),
        BeforeValidator(whole),
    ] = None
    text: Annotated[
        str | None,
        Field(min_length=1, max_length=500, description="Members like this text, in a space that embeds texts."),
    ] = None
    vector: Annotated[
        list[float] | None,
        Field(min_length=1, max_length=100_000, description="Members like this vector of the space."),
    ] = None
    n: Annotated[int, Field(ge=1, le=100, description="How many members to find.")] = 10
    clustering: Annotated[Method | None, Field(description="Of `cluster`; the collection's first when absent.")] = None
    cluster: Annotated[
        int | None,
        Field(ge=-1, description="Only members of this cluster; -1 for noise."),
        BeforeValidator(whole),
    ] = None
    having: Annotated[
        Attributes | None, Field(alias="with", description="Only members with all of these attributes.")
    ] = None
    lacking: Annotated[
        Attributes | None, Field(alias="without", description="Only members that lack all of these attributes.")
    ] = None

    @property
    def queue(self) -> str:
        """A queue of its own: searches do not wait for builds of collections."""
        return "search"

    @model_validator(mode="after")
    def _one_query(self) -> Self:
        given = [query for query in QUERIES if getattr(self, query) is not None]
        if len(given) != 1:
            message = "Give one of `image`, `member`, `text` and `vector`"
            raise invalid(given[1] if given else QUERIES[0], message)
        if self.clustering and self.cluster is None:
            raise invalid("clustering", "Goes with `cluster`, which is absent")
        return self

    def stored(self) -> dict[str, Any]:
        """The `params` of the job's record."""
        return self.model_dump(mode="json", by_alias=True, exclude={"priority", "expires_in", "webhook_url"})


class CollectionSearch(_Search):
    """What the record of such a job holds: the query, the collection and its version."""

    collection: str

    def uses(self) -> Uses:
        """The collection."""
        return Uses(collections=(self.collection,))


class SearchParams(_Search, CollectionRouteRequest):
    """What to search a collection for: an image, a member, a text or a vector, and filters."""

    def resolved(self, facts: Facts) -> CollectionSearch:
        """Chooses the version; raises BadInput for what the version or its space lacks."""
        collection, version = facts.version(self._collection_id, self.version)
        if self.image or self.text:
            self._check_space(space_of(facts, collection.params["space"]), collection.params["space"])
        return self.of_version(collection.id, version.number, version.figures)

    def _check_space(self, space: Space, name: str) -> None:
        if self.text and not space.embeds_text:
            message = f"text: The space {name} does not embed texts; search for an image, a member or a vector."
            raise BadInput("no_texts", message, field="text")
        if self.image and not space.encodes:
            message = f"image: The space {name} encodes no images; search for a member or a vector."
            raise BadInput("no_encoder", message, field="image")

    def of_version(self, collection_id: str, version: int, figures: Mapping[str, Any]) -> CollectionSearch:
        """What the record of the job holds; raises BadInput for what a version with these figures lacks."""
        if self.member is not None and self.member >= figures["n_images"]:
            n = figures["n_images"]
            message = f"member: The collection has {n} members, 0 to {n - 1}."
            raise BadInput("no_such_member", message, field="member", n_members=n)
        if self.vector and len(self.vector) != figures["dim"]:
            message = f"vector: It has {len(self.vector)} values; vectors of the collection have {figures['dim']}."
            raise BadInput("vector_mismatch", message, field="vector", dim=figures["dim"])
        method = self.clustering
        if self.cluster is not None:
            method = clustering_of("clustering", self.clustering, figures)
            if self.cluster >= 0:
                check_cluster("cluster", self.cluster, figures["clusterings"][method]["n_clusters"])
        for field, names in (("with", self.having), ("without", self.lacking)):
            for name in names or ():
                check_attribute(field, name, figures["attribute_names"])
        given = self.model_dump(by_alias=True) | {"clustering": method}
        return CollectionSearch(**given | {"collection": collection_id, "version": version})
