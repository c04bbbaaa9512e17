"""Animations: frames at equal distances along a path through the space of a collection."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from jobs.requests.base import STRICT, invalid, whole
from jobs.requests.clusterings import Method
from jobs.requests.content import PHOTO, ContentRequest, check_takes_content
from jobs.requests.facts import Facts
from jobs.requests.spaces import check_decodes
from jobs.requests.steering import (
    AttributeDirection,
    Component,
    OfCollection,
    Start,
    Whole,
    check_cluster,
    check_direction,
    clustering_of,
    fitted_start,
    resolved_start,
)
from jobs.requests.upscale import UpscaledRequest
from jobs.schemas import AnimationFormat

MAX_FRAMES = 240
MAX_POINTS = 16  # of a path
GIF_FPS = 50
Turns = Annotated[
    list[Annotated[float, Field(ge=-10, le=10)]],
    Field(min_length=2, max_length=21, description="In standard deviations of the collection's members, in order."),
]


class ComponentPath(Component):
    """Along one principal component, through its `strengths` in order."""

    start: Annotated[Start, Field(description="What is moved.")] = "mean"
    strengths: Turns = [-3, 3]


class AttributePath(AttributeDirection):
    """From members without an attribute towards those with it, through its `strengths` in order."""

    start: Annotated[Start, Field(description="What is moved.")] = "mean"
    strengths: Turns = [-3, 3]


class PointsPath(BaseModel):
    """Between two points, or on a curve through several."""

    model_config = STRICT
    through: Annotated[
        list[Start],
        Field(
            min_length=2,
            max_length=MAX_POINTS,
            description="Images, kept styles, texts, centers of clusters or 'mean', in order.",
        ),
    ]


class ClusterPath(BaseModel):
    """On a curve around a cluster, through samples of it."""

    model_config = STRICT
    cluster: Annotated[Whole, Field(description="Counted from 0.")]
    clustering: Annotated[Method | None, Field(description="The collection's first when absent.")] = None
    n: Annotated[int, Field(ge=3, le=MAX_POINTS, description="Samples on the curve."), BeforeValidator(whole)] = 8
    temperature: Annotated[float, Field(gt=0, le=3, description="Spread of the samples: 1 is that of the cluster.")] = (
        1.0
    )


def _path_type(value: Any) -> str | None:
    has = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
    return next((f"<{name}>" for name in ("component", "attribute", "through", "cluster") if name in has), None)


Path = Annotated[
    Annotated[ComponentPath, Tag("<component>")]
    | Annotated[AttributePath, Tag("<attribute>")]
    | Annotated[PointsPath, Tag("<through>")]
    | Annotated[ClusterPath, Tag("<cluster>")],
    Discriminator(
        _path_type,
        custom_error_type="path",
        custom_error_message="Input should be an object with `component`, `attribute`, `through` or `cluster`",
    ),
]


class Animation(OfCollection, ContentRequest, UpscaledRequest):
    """Frames at equal distances along a path, as one animated file, with a sheet of them.

    A request of its own, not a field of a pc-steering: the path takes the place of its rows and strengths, and the
    format is that of a film.
    """

    kind: ClassVar[str] = "pc-animation"

    path: Annotated[Path, Field(description="The way through the space.")]
    n_frames: Annotated[int, Field(ge=2, le=MAX_FRAMES, description="Frames of the whole animation.")] = 48
    fps: Annotated[int, Field(ge=1, le=60, description="Frames shown in a second.")] = 12
    loop: Annotated[
        bool,
        Field(
            description="Return to the first frame without a jump, and repeat: a path through three or more points is "
            "closed, every other returns the way it came. Otherwise it ends at the last point, and plays once."
        ),
    ] = True
    format: Annotated[
        AnimationFormat, Field(description="File format of the animation; its sheet of frames is a PNG.")
    ] = "webp"  # type: ignore[assignment]  # other files than those of images

    @model_validator(mode="after")
    def _shown_as_fast(self) -> Self:
        if self.format == "gif" and self.fps > GIF_FPS:
            raise invalid("fps", f"Must be at most {GIF_FPS} for a GIF, which players would slow down")
        return self

    def resolved(self, facts: Facts) -> "Animation":
        """Chooses the version, the clusterings and the size; raises BadInput for a start that the space lacks."""
        collection, version = facts.version(self.collection, self.version)
        space = collection.params["space"]
        check_decodes(facts, "collection", space)
        resolved = self._from(lambda field, start: _resolved(facts, field, start, space))
        fitted = resolved.fitted(version.figures).model_copy(update={"version": version.number})
        return fitted.painting(facts, space, self.n_frames)

    def fitted(self, figures: Mapping[str, Any]) -> Self:
        """Fills in the clusterings; raises BadInput, naming the field, for what the version does not have."""
        match self.path:
            case ComponentPath() | AttributePath():
                check_direction("path", self.path, figures)
            case ClusterPath(cluster=cluster, clustering=asked):
                method = clustering_of("path.clustering", asked, figures)
                check_cluster("path.cluster", cluster, figures["clusterings"][method]["n_clusters"])
                return self.model_copy(update={"path": self.path.model_copy(update={"clustering": method})})
        return self._from(lambda field, start: fitted_start(field, start, figures))

    def _from(self, changed: Callable[[str, Start], Start]) -> Self:
        """The same with the points of the path that are given changed by a function of their field and themselves."""
        match self.path:
            case PointsPath(through=through):
                points = [changed(f"path.through.{i}", point) for i, point in enumerate(through)]
                path: Any = self.path.model_copy(update={"through": points})
            case ClusterPath():
                return self
            case _:
                path = self.path.model_copy(update={"start": changed("path.start", self.path.start)})
        return self.model_copy(update={"path": path})


def _resolved(facts: Facts, field: str, start: Start, space: str) -> Start:
    if start == PHOTO:
        check_takes_content(facts, field, space)
    resolved: Start = resolved_start(facts, field, start, space)
    return resolved
