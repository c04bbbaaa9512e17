"""The parameters of pc-steerings and cluster-samplings: what is done with a collection."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from jobs.errors import BadInput
from jobs.requests.collection import COLLECTION_ID, Method
from jobs.schemas import STRICT, ImageRef, Request, whole

STEERING, SAMPLING = "pc-steering", "cluster-sampling"
MAX_PICTURES = 256  # of one job

Whole = Annotated[int, Field(ge=0), BeforeValidator(whole)]
Strengths = Annotated[
    list[Annotated[float, Field(ge=-10, le=10)]],
    Field(min_length=1, max_length=21, description="In standard deviations of the collection's members."),
]


class OfCollection(Request):
    """What all requests about a collection share."""

    collection: Annotated[
        str,
        Field(
            pattern=COLLECTION_ID,
            description="`GET /v1/collections` lists them.",
            json_schema_extra={"format": "collection-id"},
        ),
    ]
    version: Annotated[int | None, Field(ge=1, description="The newest when absent.")] = None


class ClusterStart(BaseModel):
    """The centre of a cluster."""

    model_config = STRICT
    cluster: Annotated[Whole, Field(description="Counted from 0.")]
    clustering: Annotated[Method | None, Field(description="The collection's first when absent.")] = None


class TextStart(BaseModel):
    """What pictures of a text have on the average, in a space that reads texts."""

    model_config = STRICT
    text: Annotated[str, Field(min_length=1, max_length=500, description="Such as a caption.")]


def _start(value: Any) -> str | None:
    """Which sort of start this is meant to be; its tag looks like <mean>."""
    if isinstance(value, str):
        return "<mean>" if value == "mean" else "<image>"
    has = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
    return next((f"<{name}>" for name in ("cluster", "text") if name in has), None)


Start = Annotated[
    Annotated[Literal["mean"], Tag("<mean>")]
    | Annotated[ImageRef, Tag("<image>")]
    | Annotated[ClusterStart, Tag("<cluster>")]
    | Annotated[TextStart, Tag("<text>")],
    Discriminator(
        _start,
        custom_error_type="start",
        custom_error_message="Input should be 'mean', an image or an object with `cluster` or `text`",
    ),
]


class Component(BaseModel):
    """Along one principal component."""

    model_config = STRICT
    component: Annotated[Whole, Field(description="Counted from 0.")]
    strengths: Strengths = [-3, -2, -1, 0, 1, 2, 3]


class AttributeDirection(BaseModel):
    """From members without an attribute towards those with it."""

    model_config = STRICT
    attribute: Annotated[str, Field(min_length=1, max_length=100, description="One the collection's pictures have.")]
    fitting: Annotated[
        Literal["difference", "linear"],
        Field(description="The difference of the two means, or Fisher's linear discriminant."),
    ] = "difference"
    strengths: Strengths = [-3, -2, -1, 0, 1, 2, 3]


def _direction(value: Any) -> str | None:
    has = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
    return next((f"<{name}>" for name in ("component", "attribute") if name in has), None)


Direction = Annotated[
    Annotated[Component, Tag("<component>")] | Annotated[AttributeDirection, Tag("<attribute>")],
    Discriminator(
        _direction,
        custom_error_type="direction",
        custom_error_message="Input should be an object with `component` or one with `attribute`",
    ),
]


class Steering(OfCollection):
    """Moves a start along components and attributes, or its components towards those of a style image."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["components"]}, {"required": ["style_from"]}]},
    )

    start: Annotated[Start, Field(description="Where to start from.")] = "mean"
    components: Annotated[
        list[Direction] | None, Field(min_length=1, max_length=16, description="What to move along, each a row.")
    ] = None
    combine: Annotated[
        bool | None,
        Field(description="Move along all at once, the k-th strength of each together, in one row. No when absent."),
    ] = None
    style_from: Annotated[ImageRef | None, Field(description="Whose components to move towards.")] = None
    style_components: Annotated[
        int | None, Field(ge=1, le=512, description="How many of the first components take the style; 10 when absent.")
    ] = None
    style_strengths: Annotated[
        list[Annotated[float, Field(ge=-2, le=2)]] | None,
        Field(min_length=1, max_length=21, description="1 is all the way; 0, 0.25, 0.5, 0.75 and 1 when absent."),
    ] = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "Steering":
        if (self.components is None) == (self.style_from is None):
            _refuse("components", "Give `components` or `style_from`, one of the two")
        unused = ("style_components", "style_strengths") if self.components else ("combine",)
        for field in unused:
            if getattr(self, field) is not None:
                _refuse(field, f"Goes with `{'style_from' if self.components else 'components'}`, which is not given")
        if self.combine and self.components:
            counts = {len(direction.strengths) for direction in self.components}
            if len(counts) > 1:
                _refuse("combine", "Each of `components` must have equally many strengths")
        if self.components and sum(len(direction.strengths) for direction in self.components) > MAX_PICTURES:
            _refuse("components", f"At most {MAX_PICTURES} pictures in all")
        return self


def _choice(value: Any) -> str | None:
    if isinstance(value, str):
        return "<all>" if value == "all" else None
    return "<number>" if isinstance(value, int | float) and not isinstance(value, bool) else None


ClusterChoice = Annotated[
    Annotated[Whole, Tag("<number>")] | Annotated[Literal["all"], Tag("<all>")],
    Discriminator(
        _choice,
        custom_error_type="cluster",
        custom_error_message="Input should be the number of a cluster, counted from 0, or 'all'",
    ),
]


class ClusterSampling(OfCollection):
    """New pictures of one cluster, or of each."""

    clustering: Annotated[Method | None, Field(description="The collection's first when absent.")] = None
    cluster: Annotated[ClusterChoice, Field(description="Counted from 0, or `all` for each of them.")] = "all"
    n: Annotated[int, Field(ge=1, le=64, description="Pictures of each cluster.")] = 8
    temperature: Annotated[
        float, Field(ge=0, le=3, description="How wide to draw: 1 as wide as the cluster, 0 its centre alone.")
    ] = 1.0
    neighbours: Annotated[int, Field(ge=1, le=8, description="The nearest members shown below each new picture.")] = 1


def _refuse(field: str, message: str) -> None:
    raise PydanticCustomError("collection", message, {"field": field})


def images_of(params: Steering) -> dict[str, str]:
    """Each field that holds an image, and the image."""
    fields = {"start": params.start, "style_from": params.style_from}
    return {name: value for name, value in fields.items() if isinstance(value, str) and value != "mean"}


def fitted_steering(params: Steering, figures: dict[str, Any]) -> Steering:
    """The parameters with the defaults that depend on the collection filled in.

    figures: of the collection's version. Raises BadInput, naming the field, for what the version does not have.
    """
    n_components = figures["n_components"]
    for i, direction in enumerate(params.components or ()):
        if isinstance(direction, Component):
            check_component(f"components.{i}.component", direction.component, n_components)
        else:
            check_attribute(f"components.{i}.attribute", direction.attribute, figures["attribute_names"])
    changed: dict[str, Any] = {}
    if isinstance(params.start, ClusterStart):
        method = clustering_of("start.clustering", params.start.clustering, figures)
        _check_cluster("start.cluster", params.start.cluster, figures["clusterings"][method]["n_clusters"])
        changed["start"] = params.start.model_copy(update={"clustering": method})
    if params.style_from:
        changed["style_components"] = params.style_components or min(10, n_components)
        changed["style_strengths"] = params.style_strengths or [0, 0.25, 0.5, 0.75, 1]
        check_component("style_components", changed["style_components"] - 1, n_components)
    return params.model_copy(update=changed)


def fitted_sampling(params: ClusterSampling, figures: dict[str, Any]) -> ClusterSampling:
    """The parameters with the clustering filled in; raises BadInput as `fitted_steering` does."""
    method = clustering_of("clustering", params.clustering, figures)
    found = figures["clusterings"][method]
    if params.cluster != "all":
        _check_cluster("cluster", params.cluster, found["n_clusters"])
    n_clusters = found["n_clusters"] if params.cluster == "all" else 1
    if n_clusters * params.n > MAX_PICTURES:
        message = f"n: {n_clusters} clusters of {params.n} are more than {MAX_PICTURES} pictures."
        raise BadInput("too_many_pictures", message, field="n", allowed=MAX_PICTURES // n_clusters)
    return params.model_copy(update={"clustering": method})


def check_component(field: str, component: int, n_components: int) -> None:
    """Raises BadInput where a version has fewer components."""
    if component >= n_components:
        message = f"{field}: The collection has {n_components} components, 0 to {n_components - 1}."
        raise BadInput("no_such_component", message, field=field, n_components=n_components)


def _check_cluster(field: str, cluster: int, n_clusters: int) -> None:
    if cluster >= n_clusters:
        message = f"{field}: The clustering has {n_clusters} clusters, 0 to {n_clusters - 1}."
        raise BadInput("no_such_cluster", message, field=field, n_clusters=n_clusters)


def check_attribute(field: str, name: str, known: list[str]) -> None:
    """Raises BadInput where a version's members do not have the attribute."""
    if name not in known:
        message = f"{field}: There is no attribute {name!r}; there are {', '.join(known) or 'none'}."
        raise BadInput("unknown_attribute", message, field=field, allowed=known)


def clustering_of(field: str, method: Method | None, figures: Mapping[str, Any]) -> Method:
    """Returns the method, or that of the version's first clustering; raises BadInput where the version lacks it."""
    methods: list[Method] = list(figures["clusterings"])
    if method in methods or (method is None and methods):
        return method or methods[0]
    failed = figures.get("failed_clusterings", {})
    reasons = "".join(f" {name} could not be made: {reason}." for name, reason in failed.items())
    asked = f"clustering {method!r}" if method else "clustering"
    message = f"{field}: The collection has no {asked}; it has {', '.join(methods) or 'none'}.{reasons}"
    raise BadInput("unknown_clustering", message, field=field, allowed=methods)
