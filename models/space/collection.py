"""Collections: images as vectors of a space, with principal components, clusterings and maps, stored in one file."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import SpaceError
from models.seeds import folded
from models.space.clusters import FittedClustering, Labels, Scores, assigned, from_labels
from models.space.isolation import spacing_of
from models.space.meaning import Traits, attribute_shares, cluster_meanings, component_meanings, traits_of
from models.space.methods import agglomerative, dbscan, hdbscan, kmeans, spectral
from models.space.mixture import FittedMixture, fit_mixture
from models.space.pca import Pca, components_for, fit_pca
from models.space.stability import agreement_of, classes_of, stability_of

Array = NDArray[np.float32]
Method = Literal["kmeans", "mixture", "agglomerative", "spectral", "hdbscan", "dbscan"]
TITLES: dict[Method, str] = {
    "kmeans": "k-means",
    "mixture": "mixture",
    "agglomerative": "agglomerative clustering",
    "spectral": "spectral clustering",
    "hdbscan": "HDBSCAN",
    "dbscan": "DBSCAN",
}
MapName = Literal["tsne", "umap"]
MARKS = (0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Members:
    """The images of a collection.

    vectors: float32 (n, dim). thumbnails: uint8 (n, t, t, 3). names: (n,), `img_…` ids or indices in a data set.
    attributes: int8 (n, k), 1 for one that an image has, 0 for one that it lacks, -1 for unknown; attribute_names: k
    names. digests: sha256 (n,) of the encoded pixels, empty in collections of an earlier version. classes,
    class_probabilities: int16 and float32 (n, c), the likeliest classes of each, the likeliest first, as indices in
    class_names; None in a space without classes.
    """

    vectors: Array
    thumbnails: NDArray[np.uint8]
    names: NDArray[np.str_]
    attributes: NDArray[np.int8]
    attribute_names: tuple[str, ...] = ()
    digests: NDArray[np.str_] | None = None
    classes: NDArray[np.int16] | None = None
    class_probabilities: Array | None = None
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def spacing(self) -> float | None:
        """How far members are from their nearest others, see `spacing_of`."""
        return spacing_of(self.vectors)

    @property
    def has_images(self) -> bool:
        """Whether any member has an image; without any, one blank thumbnail stands for all."""
        return self.thumbnails.strides[0] != 0

    def __add__(self, others: "Members") -> "Members":
        """Concatenates two sets of members, with the attributes of both and without classes."""
        names = tuple(dict.fromkeys(self.attribute_names + others.attribute_names))
        return Members(
            np.concatenate([self.vectors, others.vectors]),
            np.concatenate([self.thumbnails, others.thumbnails])
            if self.has_images or others.has_images
            else _repeated(self.thumbnails, len(self) + len(others)),
            np.concatenate([self.names, others.names]),
            np.concatenate([_in_columns(part, names) for part in (self, others)]),
            names,
            np.concatenate([_digests(part) for part in (self, others)]),
        )


def _repeated(thumbnails: NDArray[np.uint8], n: int) -> NDArray[np.uint8]:
    """A view of the first thumbnail for each of n members, which takes the memory of one."""
    return np.broadcast_to(thumbnails[0], (n, *thumbnails.shape[1:]))


def digests_of(images: NDArray[np.uint8]) -> NDArray[np.str_]:
    """sha256 of the pixels of each image (n, h, w, 3), (n,): equal for the same image under two names."""
    return np.array([sha256(image.tobytes()).hexdigest() for image in images])


def _digests(members: Members) -> NDArray[np.str_]:
    return np.full(len(members), "") if members.digests is None else members.digests


def _in_columns(members: Members, names: Sequence[str]) -> NDArray[np.int8]:
    """Attributes in the order of `names`, -1 for those that the members do not have."""
    table = np.full((len(members), len(names)), -1, np.int8)
    for column, name in zip(members.attributes.T, members.attribute_names, strict=True):
        table[:, names.index(name)] = column
    return table


@dataclass(frozen=True)
class FittedCollection:
    """Members with their fitted principal components, clusterings and maps.

    clusterings: by method. mixture: the fitted mixture, if it is one of the methods. failed: the reason for each
    requested method that failed. maps: the members on planes (n, 2), by "tsne" or "umap".
    """

    members: Members
    pca: Pca
    clusterings: dict[Method, FittedClustering]
    mixture: FittedMixture | None = None
    failed: dict[Method, str] = field(default_factory=dict)
    maps: dict[MapName, Array] = field(default_factory=dict)

    @cached_property
    def scores(self) -> Array:
        """Component scores of the members, (n, k)."""
        return self.pca.transform(self.members.vectors)

    @cached_property
    def traits(self) -> Traits:
        """The attributes of the members and statistics of their thumbnails."""
        return traits_of(self.members.attributes, self.members.attribute_names, self.members.thumbnails)

    @property
    def fitted_mixture(self) -> FittedMixture:
        """The mixture; raises SpaceError where the collection has none."""
        if self.mixture is None:
            raise SpaceError("the collection has no Gaussian mixture")
        return self.mixture

    def assigned(self, method: Method, points: Scores) -> Labels:
        """Assigns points (p, k) to clusters, (p,); a mixture assigns the most likely component."""
        if method == "mixture":
            return self.fitted_mixture.labels(points)
        return assigned(self.clusterings[method], self.scores, points)


def fit_collection(
    members: Members,
    *,
    pca: Mapping[str, Any],
    clusterings: Sequence[Mapping[str, Any]],
    seed: int,
    on_step: Callable[[str], None] = lambda message: None,
) -> FittedCollection:
    """Fits principal components and clusterings to the members.

    pca: arguments of `fit_pca`. clusterings: the `method` of each and the arguments of that method's function; one that
    fails is in `failed`, with its reason. `on_step` is called with the name of the current stage and may raise to stop.
    Raises SpaceError if the components cannot be fitted.
    """
    seed = folded(seed)
    on_step("principal components")
    fitted = fit_pca(members.vectors, **pca, seed=seed, on_step=lambda: on_step("principal components"))
    scores = fitted.transform(members.vectors)
    fits: dict[Method, FittedClustering] = {}
    failed: dict[Method, str] = {}
    mixture = None
    for arguments in clusterings:
        options = dict(arguments)
        method: Method = options.pop("method")
        try:
            if method == "mixture":
                mixture = fit_mixture(scores, **options, seed=seed, on_step=lambda k, _: on_step(f"mixture of {k}"))
                found = from_labels("mixture", scores, mixture.labels(scores), seed)
            else:
                found = _clustering(method, scores, options, seed, on_step)
            stability = stability_of(found, scores, options, seed, lambda: on_step("stability"))
            fits[method] = replace(found, stability=stability)
        except (ValueError, MemoryError) as error:  # SpaceError, and errors of libraries for degenerate data
            failed[method] = str(error) or type(error).__name__
    return FittedCollection(members, fitted, fits, mixture, failed)


def _clustering(
    method: Method, scores: Scores, options: Mapping[str, Any], seed: int, on_step: Callable[[str], None]
) -> FittedClustering:
    match method:
        case "hdbscan" | "dbscan":
            on_step(TITLES[method])
            by_density = hdbscan if method == "hdbscan" else dbscan
            return by_density(scores, **options, seed=seed)
        case _:
            by_number = {"kmeans": kmeans, "agglomerative": agglomerative, "spectral": spectral}[method]
            return by_number(scores, **options, seed=seed, on_step=lambda k: on_step(f"{TITLES[method]} of {k}"))


def summary(collection: FittedCollection) -> dict[str, Any]:
    """Figures of a fit, ready for JSON."""
    ratio = collection.pca.explained_variance_ratio_
    classes = classes_of(collection.members.attributes, collection.members.attribute_names)
    return {
        "n_images": len(collection.members),
        "dim": collection.members.vectors.shape[1],
        "n_components": len(ratio),
        "explained_variance_ratio": [round(float(share), 6) for share in ratio],
        "components_for": {f"{mark:g}": components_for(ratio, mark) for mark in MARKS},
        "attribute_names": list(collection.members.attribute_names),
        "maps": list(collection.maps),
        "components": component_meanings(collection.scores, collection.traits),
        "clusterings": {
            method: _of_clustering(each, classes) | _meaning_of(each, collection.traits)
            for method, each in collection.clusterings.items()
        },
        "failed_clusterings": dict(collection.failed),
    } | ({"mixture": _of_mixture(collection.mixture)} if collection.mixture else {})


def _of_clustering(clustering: FittedClustering, classes: Labels | None) -> dict[str, Any]:
    return {
        "n_clusters": clustering.n_clusters,
        "sizes": clustering.sizes.tolist(),
        "noise_share": round(clustering.noise_share, 4),
        "silhouette": clustering.silhouette,
        "davies_bouldin": clustering.davies_bouldin,
        "adjusted_rand": agreement_of(clustering.labels_, classes),
        "stability": clustering.stability,
        "medoids": clustering.medoids_.tolist(),
        "sweep": list(clustering.sweep),
    }


def _meaning_of(clustering: FittedClustering, traits: Traits) -> dict[str, Any]:
    """What sets each cluster apart, and the share of each attribute by cluster (None where none is known)."""
    names, shares, _ = attribute_shares(clustering.labels_, traits)
    rows = [[None if np.isnan(share) else round(float(share), 3) for share in column] for column in shares.T]
    return {
        "clusters": cluster_meanings(clustering.labels_, traits),
        "attribute_shares": dict(zip(names, rows, strict=True)),
    }


def _of_mixture(mixture: FittedMixture) -> dict[str, Any]:
    return {
        "covariance_type": mixture.covariance_type,
        "n_components": len(mixture.weights_),
        "weights": [round(float(weight), 5) for weight in mixture.weights_],
        "sweep": list(mixture.sweep),
    }


# --- in a file -------------------------------------------------------------------------------------------------------


def save_collection(collection: FittedCollection, path: Path) -> None:
    """Writes an npz file of plain arrays; the same collection gives the same bytes."""
    parts: dict[str, Any] = {"members": collection.members, "pca": collection.pca}
    parts |= {f"clusterings/{method}": clustering for method, clustering in collection.clusterings.items()}
    parts |= {"mixture": collection.mixture} if collection.mixture else {}
    arrays: dict[str, NDArray[Any]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        values = {field.name: getattr(part, field.name) for field in fields(part)}
        arrays |= {f"{name}/{key}": value for key, value in values.items() if isinstance(value, np.ndarray)}
        if isinstance(part, Members) and not part.has_images:
            arrays[f"{name}/thumbnails"] = part.thumbnails[:1]
        facts[name] = {key: value for key, value in values.items() if not isinstance(value, np.ndarray)}
    facts["failed"] = {str(method): reason for method, reason in collection.failed.items()}
    arrays |= {f"maps/{name}": points for name, points in collection.maps.items()}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)


def load_collection(path: Path) -> FittedCollection:
    """Loads a collection from the file of `save_collection`; no code in the file is run."""
    with np.load(path, allow_pickle=False) as file:
        facts: dict[str, dict[str, Any]] = json.loads(str(file["facts"]))
        failed: Any = facts.pop("failed", {})
        maps: Any = _arrays_of(file, "maps")
        if "map" in file:  # of earlier versions
            maps["tsne"] = file["map"]
        parts = {name: _arrays_of(file, name) | _tuples(values) for name, values in facts.items()}
    members = parts["members"]
    if len(members["thumbnails"]) == 1:
        members["thumbnails"] = _repeated(members["thumbnails"], len(members["names"]))
    return FittedCollection(
        Members(**parts.pop("members")),
        Pca(**parts.pop("pca")),
        mixture=FittedMixture(**parts.pop("mixture")) if "mixture" in parts else None,
        failed=failed,
        maps=maps,
        clusterings={name.removeprefix("clusterings/"): FittedClustering(**part) for name, part in parts.items()},  # type: ignore[misc]
    )


def _arrays_of(file: Mapping[str, NDArray[Any]], name: str) -> dict[str, Any]:
    keys = [key for key in file if key.rpartition("/")[0] == name]
    return {key.rpartition("/")[2]: file[key] for key in keys}


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Converts the lists of JSON to the tuples of these dataclasses."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
