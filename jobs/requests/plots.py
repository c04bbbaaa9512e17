"""A request to draw the plots of a collection again, by one of its parts."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from jobs.requests.base import Request, Uses, check_attribute, invalid, whole
from jobs.requests.clusterings import Method
from jobs.requests.collection import CollectionRouteRequest, MapName
from jobs.requests.facts import Facts
from jobs.requests.steering import check_component, clustering_of

PLOT_NAME = r"^[a-z][a-z-]{1,40}$"
PARTS = ("clustering", "component", "attribute")


class _Part(Request):
    kind: ClassVar[str] = "collection-plots"

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [part]} for part in PARTS]})

    version: Annotated[int | None, Field(ge=1, description="The newest when absent.")] = None
    clustering: Annotated[
        Method | None, Field(description="Members by cluster, their silhouettes, and those nearest to each center.")
    ] = None
    component: Annotated[
        int | None,
        Field(ge=0, description="Members by their score of it, counted from 0, and images decoded along it."),
        BeforeValidator(whole),
    ] = None
    attribute: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=100,
            description="Members by whether they have it.",
            json_schema_extra={"format": "attribute"},
        ),
    ] = None
    map: Annotated[
        MapName | None,
        Field(description="The map to draw members on, made here if the version lacks it; its first when absent."),
    ] = None

    @model_validator(mode="after")
    def _one_part(self) -> Self:
        given = [part for part in PARTS if getattr(self, part) is not None]
        if len(given) != 1:
            message = "Give one of `clustering`, `component` and `attribute`"
            raise invalid(given[1] if given else PARTS[0], message)
        return self


class CollectionPlots(_Part):
    """What the record of such a job holds: the part, the collection and its version."""

    collection: str

    def uses(self) -> Uses:
        """The collection."""
        return Uses(collections=(self.collection,))


class PlotParams(_Part, CollectionRouteRequest):
    """The part that a collection's members are drawn by: one of its clusterings, components or attributes."""

    def resolved(self, facts: Facts) -> CollectionPlots:
        """Chooses the version; raises BadInput for a part that it lacks."""
        collection, version = facts.version(self._collection_id, self.version)
        return self.of_version(collection.id, version.number, version.figures)

    def of_version(self, collection_id: str, version: int, figures: Mapping[str, Any]) -> CollectionPlots:
        """What the record of the job holds; raises BadInput for a part that a version with these figures lacks."""
        if self.clustering is not None:
            clustering_of("clustering", self.clustering, figures)
        if self.component is not None:
            check_component("component", self.component, figures["n_components"])
        if self.attribute is not None:
            check_attribute("attribute", self.attribute, figures["attribute_names"])
        return CollectionPlots(**self.model_dump() | {"collection": collection_id, "version": version})
