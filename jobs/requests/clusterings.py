"""How a collection's members are clustered: a class for each method."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from jobs.requests.base import STRICT, invalid, whole

MAX_CLUSTERS, MAX_COMPONENTS = 20, 200  # to choose from

Method = Literal["kmeans", "mixture", "agglomerative", "spectral", "hdbscan", "dbscan"]
NClusters = Annotated[
    int | None, Field(ge=2, le=500, description="How many; chosen when absent."), BeforeValidator(whole)
]
MostClusters = Annotated[
    int | None, Field(ge=2, le=500, description="The largest number to choose from."), BeforeValidator(whole)
]
Candidates = Annotated[
    list[Annotated[int, Field(ge=2, le=500), BeforeValidator(whole)]] | None,
    Field(
        min_length=2,
        max_length=100,
        description="Numbers to choose from; all of them are tried, as far as there are images.",
    ),
]
Criterion = Annotated[
    Literal["silhouette", "gap"],
    Field(description="How the number is chosen: the best mean silhouette, or the gap statistic, which may choose 1."),
]


class _Clustering(BaseModel):
    model_config = STRICT


class _WithNumber(_Clustering):
    n_clusters: NClusters = None
    max_clusters: MostClusters = None
    candidates: Candidates = None

    @model_validator(mode="after")
    def _number_or_bound(self) -> Self:
        if self.n_clusters and self.max_clusters:
            raise invalid("max_clusters", "`n_clusters` gives the number, so none is chosen")
        if self.candidates and (self.n_clusters or self.max_clusters):
            raise invalid("candidates", "Give one of `n_clusters`, `max_clusters` and `candidates`")
        return self


class KMeans(_WithNumber):
    """K-means; the number of clusters by the `criterion`, of at most 20 by default."""

    method: Literal["kmeans"] = "kmeans"
    criterion: Criterion = "silhouette"


class Agglomerative(_WithNumber):
    """Ward's agglomerative clustering of at most 10,000 images; the number by the `criterion`, up to 20."""

    method: Literal["agglomerative"]
    criterion: Criterion = "silhouette"


class Spectral(_WithNumber):
    """Spectral clustering of at most 5,000 images; the number with the best silhouette, up to 20 by default."""

    method: Literal["spectral"]


class GaussianMixture(_Clustering):
    """A Gaussian mixture; the number of components with the least `criterion`, of at most 200 by default."""

    method: Literal["mixture"]
    covariance_type: Annotated[
        Literal["full", "tied", "diag", "spherical"], Field(description="Shape of the covariances, as in scikit-learn.")
    ] = "diag"
    criterion: Annotated[Literal["aic", "bic"], Field(description="The information criterion to minimize.")] = "aic"
    n_components: NClusters = None
    max_components: MostClusters = None
    candidates: Annotated[
        list[Annotated[int, Field(ge=1, le=500), BeforeValidator(whole)]] | None,
        Field(
            min_length=2,
            max_length=100,
            description="Numbers to choose from; all of them are tried, as far as there are images.",
        ),
    ] = None

    @model_validator(mode="after")
    def _number_or_bound(self) -> Self:
        if self.n_components and self.max_components:
            raise invalid("max_components", "`n_components` gives the number, so none is chosen")
        if self.candidates and (self.n_components or self.max_components):
            raise invalid("candidates", "Give one of `n_components`, `max_components` and `candidates`")
        return self


class Hdbscan(_Clustering):
    """HDBSCAN, which finds the number of clusters itself and leaves out noise."""

    method: Literal["hdbscan"]
    min_cluster_size: Annotated[
        int | None,
        Field(ge=2, le=10_000, description="Smaller groups are noise; chosen when absent."),
        BeforeValidator(whole),
    ] = None


class Dbscan(_Clustering):
    """DBSCAN of at most 20,000 images, which finds the number of clusters itself and leaves out noise."""

    method: Literal["dbscan"]
    eps: Annotated[
        float | None,
        Field(gt=0, description="Radius of a neighborhood in component scores; at the bend of distances when absent."),
    ] = None
    min_samples: Annotated[
        int | None,
        Field(ge=2, le=10_000, description="Images in a neighborhood inside a cluster; 5 when absent."),
        BeforeValidator(whole),
    ] = None


def _method(value: Any) -> str:
    return f"<{value.get('method', 'kmeans') if isinstance(value, dict) else getattr(value, 'method', None)}>"


Clustering = Annotated[
    Annotated[KMeans, Tag("<kmeans>")]
    | Annotated[GaussianMixture, Tag("<mixture>")]
    | Annotated[Agglomerative, Tag("<agglomerative>")]
    | Annotated[Spectral, Tag("<spectral>")]
    | Annotated[Hdbscan, Tag("<hdbscan>")]
    | Annotated[Dbscan, Tag("<dbscan>")],
    Discriminator(
        _method,
        custom_error_type="method",
        custom_error_message=(
            "Input should have a `method`: 'kmeans', 'mixture', 'agglomerative', 'spectral', 'hdbscan' or 'dbscan'"
        ),
    ),
]
Clusterings = Annotated[
    list[Clustering],
    Field(min_length=1, max_length=6, description="Each method once; the first is the one shown and used by default."),
]


def check_methods(clusterings: list[Clustering]) -> None:
    """Validates that no method is repeated."""
    if len({each.method for each in clusterings}) < len(clusterings):
        raise invalid("clusterings", "Each method may be named once")


def with_bound(clustering: Clustering) -> Clustering:
    """A clustering with the largest number to choose from filled in, where it chooses a number."""
    match clustering:
        case GaussianMixture(n_components=None, max_components=None, candidates=None):
            return clustering.model_copy(update={"max_components": MAX_COMPONENTS})
        case KMeans() | Agglomerative() | Spectral() if not (
            clustering.n_clusters or clustering.max_clusters or clustering.candidates
        ):
            return clustering.model_copy(update={"max_clusters": MAX_CLUSTERS})
    return clustering
