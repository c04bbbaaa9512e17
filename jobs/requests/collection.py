"""The parameters of a collection: which pictures, in which space, and what is fitted to their vectors."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from jobs.requests.training import SETS, Data
from jobs.schemas import MODEL_ID, STRICT, ImageRef, Request, whole

KIND = "collection"
COLLECTION_ID = r"^col_[0-9a-f]{24}$"  # the digits of the job that founded it
TEXT_SPACES = ("kandinsky", "kandinsky-2.2")  # architectures that turn texts into vectors too
SPACES = ("mlp-vae", "conv-vae", "dcgan", *TEXT_SPACES, "stable-unclip", "ip-adapter")  # those with an encoder
PIXELS = "pixels"
MIN_IMAGES = 4  # of a new collection
NAMED_LIMIT = 1000  # pictures of a named set, which may have 70,000
EXPLAINED_VARIANCE = 0.99
MAX_CLUSTERS, MAX_COMPONENTS = 20, 200  # to choose from

Method = Literal["kmeans", "mixture", "agglomerative", "hdbscan"]
NClusters = Annotated[
    int | None, Field(ge=2, le=500, description="How many; chosen when absent."), BeforeValidator(whole)
]
MostClusters = Annotated[
    int | None, Field(ge=2, le=500, description="The most to choose from."), BeforeValidator(whole)
]


class _Clustering(BaseModel):
    model_config = STRICT


class _Chosen(_Clustering):
    n_clusters: NClusters = None
    max_clusters: MostClusters = None

    @model_validator(mode="after")
    def _number_or_bound(self) -> "_Chosen":
        if self.n_clusters and self.max_clusters:
            _refuse("max_clusters", "The number is given by `n_clusters`: none is chosen")
        return self


class KMeans(_Chosen):
    """K-means; the number with the best silhouette, of at most 20 unless said."""

    method: Literal["kmeans"] = "kmeans"


class Agglomerative(_Chosen):
    """Ward's agglomerative clustering; the number with the best silhouette, of at most 20 unless said."""

    method: Literal["agglomerative"]


class Mixture(_Clustering):
    """A mixture of Gaussians; the number with the least `criterion`, of at most 200 unless said."""

    method: Literal["mixture"]
    covariance_type: Annotated[
        Literal["full", "tied", "diag", "spherical"], Field(description="Shape of the Gaussians, as scikit-learn's.")
    ] = "diag"
    criterion: Annotated[Literal["aic", "bic"], Field(description="Which information criterion is to be least.")] = (
        "aic"
    )
    n_components: NClusters = None
    max_components: MostClusters = None

    @model_validator(mode="after")
    def _number_or_bound(self) -> "Mixture":
        if self.n_components and self.max_components:
            _refuse("max_components", "The number is given by `n_components`: none is chosen")
        return self


class Hdbscan(_Clustering):
    """HDBSCAN, which finds the number itself and leaves noise out."""

    method: Literal["hdbscan"]
    min_cluster_size: Annotated[
        int | None,
        Field(ge=2, le=10_000, description="Smaller groups are noise; chosen when absent."),
        BeforeValidator(whole),
    ] = None


def _method(value: Any) -> str:
    return f"<{value.get('method', 'kmeans') if isinstance(value, dict) else getattr(value, 'method', None)}>"


Clustering = Annotated[
    Annotated[KMeans, Tag("<kmeans>")]
    | Annotated[Mixture, Tag("<mixture>")]
    | Annotated[Agglomerative, Tag("<agglomerative>")]
    | Annotated[Hdbscan, Tag("<hdbscan>")],
    Discriminator(
        _method,
        custom_error_type="method",
        custom_error_message="Input should have a `method`: 'kmeans', 'mixture', 'agglomerative' or 'hdbscan'",
    ),
]
Clusterings = Annotated[
    list[Clustering],
    Field(min_length=1, max_length=4, description="Each method once; the first is the one shown and used by default."),
]


class _Pictures(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["images"], "properties": {"images": {"type": "array"}, "data": {"type": "null"}}},
                {"required": ["data"], "properties": {"data": {"type": "string"}, "images": {"type": "null"}}},
            ]
        }
    )

    images: Annotated[
        list[ImageRef] | None,
        Field(min_length=1, max_length=256, description="The images, of which the same is counted once; or `data`."),
    ] = None
    data: Annotated[Data | None, Field(description="A named set, or the `zip_…` id of an uploaded archive.")] = None
    limit: Annotated[
        int | None,
        Field(
            ge=1,
            le=20_000,
            description="Use so many images of `data` at most. When absent 1000 of a named set, all of an archive.",
        ),
    ] = None

    @property
    def archive(self) -> str | None:
        """The sha256 of the archive its pictures are in, if they are in one."""
        return self.data.removeprefix("zip_") if self.data and self.data not in SETS else None

    @model_validator(mode="after")
    def _one_source(self) -> "_Pictures":
        if self.images and self.data:
            _refuse("data", "Give `images` or `data`, not both")
        if not self.images and not self.data:
            _refuse("images", "Give `images` or `data`")
        if self.images and self.limit:
            _refuse("limit", "All of `images` are used; only `data` takes a limit")
        return self


class _Built(_Pictures):
    name: Annotated[str, Field(min_length=1, max_length=100, description="What it is to be called in lists.")]
    space: Annotated[
        str,
        Field(
            pattern=MODEL_ID,
            description="What the vectors are: `pixels`, or what a model with an encoder makes, by its id.",
            json_schema_extra={"format": "space"},
        ),
    ]
    image_size: Annotated[
        int | None,
        Field(ge=16, le=256, multiple_of=4, description="Of `pixels`: side of the pictures; 64 when absent."),
    ] = None
    channels: Annotated[
        Literal[1, 3] | None, Field(description="Of `pixels`: 1 for grey, 3 for colour; 3 when absent.")
    ] = None
    n_components: Annotated[
        int | None,
        Field(ge=1, le=512, description="Principal components to keep; by `explained_variance` when absent."),
    ] = None
    explained_variance: Annotated[
        float | None,
        Field(ge=0.5, le=0.9999, description="Keep as many components as explain this share; 0.99 when absent."),
    ] = None
    standardise: Annotated[
        bool | None, Field(description="Bring each value to variance 1 first. Yes but for `pixels` when absent.")
    ] = None
    clusterings: Clusterings = [KMeans()]

    @model_validator(mode="after")
    def _used(self) -> "_Built":
        for field in ("image_size", "channels"):
            if self.space != PIXELS and getattr(self, field) is not None:
                _refuse(field, f"{self.space} has its own; only space pixels takes it")
        if self.n_components and self.explained_variance:
            _refuse("explained_variance", "The number of components is given by `n_components`")
        _check_methods(self.clusterings)
        return self


class CollectionParams(_Built):
    """Images as vectors of a space, with their principal components and clusters."""

    images: Annotated[
        list[ImageRef] | None,
        Field(
            min_length=MIN_IMAGES,
            max_length=256,
            description="The images, of which the same is counted once; or `data`.",
        ),
    ] = None
    limit: Annotated[
        int | None,
        Field(
            ge=MIN_IMAGES,
            le=20_000,
            description="Use so many images of `data` at most. When absent 1000 of a named set, all of an archive.",
        ),
    ] = None


class AdditionParams(_Pictures):
    """Pictures that join a collection, which is fitted anew."""

    clusterings: Annotated[Clusterings | None, Field(description="As before when absent.")] = None

    @model_validator(mode="after")
    def _once(self) -> "AdditionParams":
        _check_methods(self.clusterings or [])
        return self


class NextVersion(_Built):
    """What the record of a job that adds images holds: the images, the collection, and how it is made."""

    collection: str


def _refuse(field: str, message: str) -> None:
    raise PydanticCustomError("collection", message, {"field": field})


def _check_methods(clusterings: list[Clustering]) -> None:
    if len({each.method for each in clusterings}) < len(clusterings):
        _refuse("clusterings", "Each method may be named once")


Params = TypeVar("Params", bound=_Pictures)
Built = TypeVar("Built", bound=_Built)


def images_of(params: _Pictures) -> dict[str, str]:
    """Each field that holds an image, and the image."""
    return {f"images.{i}": image for i, image in enumerate(params.images or ())}


def with_images(params: Params, images: Mapping[str, str]) -> Params:
    """The parameters with other images, by their fields."""
    return params.model_copy(update={"images": list(images.values()) or None})


def fitted(params: Built) -> Built:
    """The parameters with the defaults that depend on others filled in."""
    in_pixels = params.space == PIXELS
    changed = {
        "image_size": params.image_size or (64 if in_pixels else None),
        "channels": params.channels or (3 if in_pixels else None),
        "limit": params.limit or (NAMED_LIMIT if params.data in SETS else None),
        "explained_variance": params.explained_variance or (None if params.n_components else EXPLAINED_VARIANCE),
        "standardise": not in_pixels if params.standardise is None else params.standardise,
        "clusterings": [_with_bound(each) for each in params.clusterings],
    }
    return params.model_copy(update=changed)


def _with_bound(clustering: Clustering) -> Clustering:
    match clustering:
        case Mixture(n_components=None, max_components=None):
            return clustering.model_copy(update={"max_components": MAX_COMPONENTS})
        case KMeans(n_clusters=None, max_clusters=None) | Agglomerative(n_clusters=None, max_clusters=None):
            return clustering.model_copy(update={"max_clusters": MAX_CLUSTERS})
    return clustering


def next_version(params: AdditionParams, before: Mapping[str, Any], collection_id: str) -> NextVersion:
    """What makes a collection's next version of added pictures.

    before: the parameters of its newest version.
    """
    pictures = {"seed", "format", "priority", "expires_in", "webhook_url", *_Pictures.model_fields}
    kept = {name: value for name, value in before.items() if name in _Built.model_fields.keys() - pictures}
    given = params.model_dump(exclude={"clusterings"} if params.clusterings is None else None)
    return fitted(NextVersion(**kept | given, collection=collection_id))
