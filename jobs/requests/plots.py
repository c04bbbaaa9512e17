"""The parameters of a request to draw a collection's plots again, by one of its parts."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from jobs.requests.collection import Method
from jobs.requests.steering import check_attribute, check_component, clustering_of
from jobs.schemas import Request, whole

KIND = "collection-plots"
PLOT_NAME = r"^[a-z][a-z-]{1,40}$"
PARTS = ("clustering", "component", "attribute")


class PlotParams(Request):
    """By what a collection's members are drawn: one of its clusterings, components or attributes."""

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

    @model_validator(mode="after")
    def _one_part(self) -> "PlotParams":
        given = [part for part in PARTS if getattr(self, part) is not None]
        if len(given) != 1:
            message = "Give one of `clustering`, `component` and `attribute`"
            raise PydanticCustomError("collection", message, {"field": given[1] if given else PARTS[0]})
        return self


class CollectionPlots(PlotParams):
    """What the record of such a job holds: the part, the collection and its version."""

    collection: str


def of_version(params: PlotParams, collection_id: str, version: int, figures: Mapping[str, Any]) -> CollectionPlots:
    """Returns what the job's record holds; figures: of the version. Raises BadInput for what the version lacks."""
    if params.clustering is not None:
        clustering_of("clustering", params.clustering, figures)
    if params.component is not None:
        check_component("component", params.component, figures["n_components"])
    if params.attribute is not None:
        check_attribute("attribute", params.attribute, figures["attribute_names"])
    return CollectionPlots(**params.model_dump() | {"collection": collection_id, "version": version})
