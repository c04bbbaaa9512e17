"""What is done with a collection: moving along components and attributes, and sampling clusters."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from jobs.errors import BadInput
from jobs.requests.base import STRICT, ImageRef, Request, Uses, check_attribute, filled, invalid, whole
from jobs.requests.clusterings import Method
from jobs.requests.collection import COLLECTION_ID
from jobs.requests.content import PHOTO, ContentRequest
from jobs.requests.facts import Facts
from jobs.requests.spaces import STYLE, check_decodes, space_of
from jobs.requests.styles import KEPT, KeptStyleId, OneImage, StyleVector, with_vector
from jobs.requests.upscale import UpscaledRequest

MAX_IMAGES = 256  # of one job

Whole = Annotated[int, Field(ge=0), BeforeValidator(whole)]
Strengths = Annotated[
    list[Annotated[float, Field(ge=-10, le=10)]],
    Field(min_length=1, max_length=21, description="In standard deviations of the collection's members."),
]


class OfCollection(Request):
    """A request about a version of a collection."""

    collection: Annotated[
        str,
        Field(
            pattern=COLLECTION_ID,
            description="`GET /v1/collections` lists them.",
            json_schema_extra={"format": "collection-id"},
        ),
    ]
    version: Annotated[int | None, Field(ge=1, description="The newest when absent.")] = None

    def uses(self) -> Uses:
        """The collection."""
        return Uses(collections=(self.collection,))

    def maker(self, facts: Facts) -> str | None:
        """The model of the collection's space, if it decodes."""
        collection, _ = facts.version(self.collection, self.version)
        space = space_of(facts, collection.params["space"])
        return space.model if space.decodes else None


class ClusterStart(BaseModel):
    """The center of a cluster."""

    model_config = STRICT
    cluster: Annotated[Whole, Field(description="Counted from 0.")]
    clustering: Annotated[Method | None, Field(description="The collection's first when absent.")] = None


class TextStart(BaseModel):
    """The embedding of a text, in a space that embeds texts."""

    model_config = STRICT
    text: Annotated[str, Field(min_length=1, max_length=500, description="Such as a caption.")]


def _start_type(value: Any) -> str | None:
    """The tag, such as <mean>, of the sort of start that a value is meant to be."""
    if isinstance(value, str):
        return f"<{value}>" if value in ("mean", PHOTO) else "<kept>" if value.startswith(KEPT) else "<image>"
    has = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
    return next((f"<{name}>" for name in ("cluster", "text", "vector") if name in has), None)


Start = Annotated[
    Annotated[Literal["mean"], Tag("<mean>")]
    | Annotated[Literal["photo"], Tag("<photo>")]
    | Annotated[ImageRef, Tag("<image>")]
    | Annotated[ClusterStart, Tag("<cluster>")]
    | Annotated[TextStart, Tag("<text>")]
    | Annotated[KeptStyleId, Tag("<kept>")]
    | Annotated[StyleVector, Tag("<vector>")],
    Discriminator(
        _start_type,
        custom_error_type="start",
        custom_error_message="Input should be 'mean', 'photo', an image, a kept style or an object with `cluster`, "
        "`text` or `vector`",
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
    attribute: Annotated[str, Field(min_length=1, max_length=100, description="One that the collection's images have.")]
    fitting: Annotated[
        Literal["difference", "linear"],
        Field(description="The difference of the two means, or Fisher's linear discriminant."),
    ] = "difference"
    strengths: Strengths = [-3, -2, -1, 0, 1, 2, 3]


def _direction_type(value: Any) -> str | None:
    has = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
    return next((f"<{name}>" for name in ("component", "attribute") if name in has), None)


Direction = Annotated[
    Annotated[Component, Tag("<component>")] | Annotated[AttributeDirection, Tag("<attribute>")],
    Discriminator(
        _direction_type,
        custom_error_type="direction",
        custom_error_message="Input should be an object with `component` or one with `attribute`",
    ),
]


class Steering(OfCollection, ContentRequest, UpscaledRequest):
    """Moves a start along components and attributes, or its components towards those of a style image."""

    kind: ClassVar[str] = "pc-steering"

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["components"]}, {"required": ["style_from"]}]},
    )

    start: Annotated[
        Start,
        Field(description="Where to start from; in the space `style` also a kept style or 'photo', the content's own."),
    ] = "mean"
    components: Annotated[
        list[Direction] | None, Field(min_length=1, max_length=16, description="What to move along, each a row.")
    ] = None
    combine: Annotated[
        bool | None,
        Field(description="Move along all at once, the k-th strength of each together, in one row; no when absent."),
    ] = None
    style_from: Annotated[
        OneImage | None,
        Field(description="The image whose scores to move towards; in the space `style` also a kept style."),
    ] = None
    style_components: Annotated[
        int | None, Field(ge=1, le=512, description="How many of the first components take the style; 10 when absent.")
    ] = None
    style_strengths: Annotated[
        list[Annotated[float, Field(ge=-2, le=2)]] | None,
        Field(min_length=1, max_length=21, description="1 is all the way; 0, 0.25, 0.5, 0.75 and 1 when absent."),
    ] = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.components is None) == (self.style_from is None):
            raise invalid("components", "Give `components` or `style_from`, one of the two")
        unused = ("style_components", "style_strengths") if self.components else ("combine",)
        for field in unused:
            if getattr(self, field) is not None:
                raise invalid(
                    field, f"Goes with `{'style_from' if self.components else 'components'}`, which is absent"
                )
        if self.combine and self.components:
            counts = {len(direction.strengths) for direction in self.components}
            if len(counts) > 1:
                raise invalid("combine", "Each of `components` must have equally many strengths")
        if self.components and sum(len(direction.strengths) for direction in self.components) > MAX_IMAGES:
            raise invalid("components", f"At most {MAX_IMAGES} images in all")
        return self

    def resolved(self, facts: Facts) -> "Steering":
        """Chooses the version and fills in the defaults that depend on it."""
        collection, version = facts.version(self.collection, self.version)
        space = collection.params["space"]
        check_decodes(facts, "collection", space)
        points = {name: resolved_start(facts, name, getattr(self, name), space) for name in ("start", "style_from")}
        fitted = self.model_copy(update=points).fitted(version.figures).model_copy(update={"version": version.number})
        strengths = fitted.style_strengths or [each for row in fitted.components or () for each in row.strengths]
        return fitted.painting(facts, space, len(strengths))

    def fitted(self, figures: Mapping[str, Any]) -> Self:
        """Fills in the defaults that depend on the collection; `figures` are those of its version.

        Raises BadInput, naming the field, for what the version does not have.
        """
        for i, direction in enumerate(self.components or ()):
            check_direction(f"components.{i}", direction, figures)
        changed: dict[str, Any] = {"start": fitted_start("start", self.start, figures)}
        if self.style_from:
            n_components = figures["n_components"]
            changed["style_components"] = self.style_components or min(10, n_components)
            changed["style_strengths"] = self.style_strengths or [0, 0.25, 0.5, 0.75, 1]
            check_component("style_components", changed["style_components"] - 1, n_components)
        return self.model_copy(update=changed)


def _cluster_type(value: Any) -> str | None:
    if isinstance(value, str):
        return "<all>" if value == "all" else None
    return "<number>" if isinstance(value, int | float) and not isinstance(value, bool) else None


ClusterChoice = Annotated[
    Annotated[Whole, Tag("<number>")] | Annotated[Literal["all"], Tag("<all>")],
    Discriminator(
        _cluster_type,
        custom_error_type="cluster",
        custom_error_message="Input should be the number of a cluster, counted from 0, or 'all'",
    ),
]


class ClusterSampling(OfCollection, ContentRequest, UpscaledRequest):
    """Samples of one cluster, or of each."""

    kind: ClassVar[str] = "cluster-sampling"

    clustering: Annotated[Method | None, Field(description="The collection's first when absent.")] = None
    cluster: Annotated[ClusterChoice, Field(description="Counted from 0, or `all` for each of them.")] = "all"
    n: Annotated[int, Field(ge=1, le=64, description="Samples of each cluster.")] = 8
    temperature: Annotated[
        float, Field(ge=0, le=3, description="Spread of the samples: 1 is that of the cluster, 0 its center alone.")
    ] = 1.0
    neighbors: Annotated[
        int,
        Field(
            ge=1,
            le=8,
            validation_alias=AliasChoices("neighbors", "neighbours"),
            description="The nearest members shown below each sample.",
        ),
    ] = 1

    def resolved(self, facts: Facts) -> "ClusterSampling":
        """Chooses the version and the clustering."""
        collection, version = facts.version(self.collection, self.version)
        fitted = self.fitted(version.figures).model_copy(update={"version": version.number})
        clusters = (
            1 if self.cluster != "all" else version.figures["clusterings"][filled(fitted.clustering)]["n_clusters"]
        )
        return fitted.painting(facts, collection.params["space"], clusters * self.n)

    def fitted(self, figures: Mapping[str, Any]) -> Self:
        """Fills in the clustering; raises BadInput, naming the field, for what the version does not have."""
        method = clustering_of("clustering", self.clustering, figures)
        n_clusters = figures["clusterings"][method]["n_clusters"]
        if self.cluster != "all":
            check_cluster("cluster", self.cluster, n_clusters)
            n_clusters = 1
        if n_clusters * self.n > MAX_IMAGES:
            message = f"n: {n_clusters} clusters of {self.n} are more than {MAX_IMAGES} images."
            raise BadInput("too_many_pictures", message, field="n", allowed=MAX_IMAGES // n_clusters)
        return self.model_copy(update={"clustering": method})


def check_component(field: str, component: int, n_components: int) -> None:
    """Raises BadInput where a version has fewer components."""
    if component >= n_components:
        message = f"{field}: The collection has {n_components} components, 0 to {n_components - 1}."
        raise BadInput("no_such_component", message, field=field, n_components=n_components)


def check_direction(field: str, direction: Component | AttributeDirection, figures: Mapping[str, Any]) -> None:
    """Raises BadInput for a component or an attribute that a version does not have."""
    if isinstance(direction, Component):
        check_component(f"{field}.component", direction.component, figures["n_components"])
    else:
        check_attribute(f"{field}.attribute", direction.attribute, figures["attribute_names"])


def fitted_start(field: str, start: Start, figures: Mapping[str, Any]) -> Start:
    """A start with its clustering filled in; raises BadInput for a cluster that a version does not have."""
    if not isinstance(start, ClusterStart):
        return start
    method = clustering_of(f"{field}.clustering", start.clustering, figures)
    check_cluster(f"{field}.cluster", start.cluster, figures["clusterings"][method]["n_clusters"])
    return start.model_copy(update={"clustering": method})


def check_cluster(field: str, cluster: int, n_clusters: int) -> None:
    """Raises BadInput where a clustering has fewer clusters."""
    if cluster >= n_clusters:
        message = f"{field}: The clustering has {n_clusters} clusters, 0 to {n_clusters - 1}."
        raise BadInput("no_such_cluster", message, field=field, n_clusters=n_clusters)


def resolved_start(facts: Facts, field: str, start: Any, space: str) -> Any:
    """A start with the vector of a kept style; raises NotFound, and BadInput for what is not of the space."""
    if isinstance(start, TextStart) and not space_of(facts, space).embeds_text:
        message = f"{field}.text: The space {space} does not embed texts; start from an image, 'mean' or a cluster."
        raise BadInput("no_texts", message, field=f"{field}.text")
    resolved = with_vector(facts, field, start)
    if isinstance(resolved, StyleVector) and space != STYLE:
        message = f"{field}: A style is a vector of the space {STYLE}; the collection is in the space {space}."
        raise BadInput("no_styles", message, field=field)
    return resolved


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
