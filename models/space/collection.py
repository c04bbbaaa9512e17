"""A collection: images as vectors of one space, their principal components, clusterings and map, kept in one file."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.seeds import folded
from models.space.clusters import (
    FittedClustering,
    Labels,
    Scores,
    agglomerative,
    assigned,
    from_labels,
    hdbscan,
    kmeans,
)
from models.space.mixture import FittedMixture, fit_mixture
from models.space.pca import Pca, components_for, fit_pca

Array = NDArray[np.float32]
Method = Literal["kmeans", "mixture", "agglomerative", "hdbscan"]
MARKS = (0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Members:
    """The images of a collection.

    vectors (n, dim) float32; thumbnails uint8 (n, t, t, 3); names (n,): `img_…` ids or places in a set; attributes int8
    (n, k) with their names: 1 has it, 0 lacks it, -1 where that is not known; digests (n,) of what was encoded, empty
    where a version from before they were kept does not have them.
    """

    vectors: Array
    thumbnails: NDArray[np.uint8]
    names: NDArray[np.str_]
    attributes: NDArray[np.int8]
    attribute_names: tuple[str, ...] = ()
    digests: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __add__(self, others: "Members") -> "Members":
        """One after the other, with the attributes of both."""
        names = tuple(dict.fromkeys(self.attribute_names + others.attribute_names))
        return Members(
            np.concatenate([self.vectors, others.vectors]),
            np.concatenate([self.thumbnails, others.thumbnails]),
            np.concatenate([self.names, others.names]),
            np.concatenate([_in_columns(part, names) for part in (self, others)]),
            names,
            np.concatenate([_digests(part) for part in (self, others)]),
        )


def digests_of(images: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Returns the sha256 of each image's pixels (n, h, w, 3), (n,): the same for the same image under two names."""
    return np.array([sha256(image.tobytes()).hexdigest() for image in images])


def _digests(members: Members) -> NDArray[np.str_]:
    return np.full(len(members), "") if members.digests is None else members.digests


def _in_columns(members: Members, names: Sequence[str]) -> NDArray[np.int8]:
    """The attributes by other names, of which members may lack some."""
    table = np.full((len(members), len(names)), -1, np.int8)
    for column, name in zip(members.attributes.T, members.attribute_names, strict=True):
        table[:, names.index(name)] = column
    return table


@dataclass(frozen=True)
class FittedCollection:
    """Members with what was fitted to them.

    clusterings: by method; mixture: where that is one of them; failed: why a method that was asked for is not among
    them; map: the members on a plane (n, 2), where one was made.
    """

    members: Members
    pca: Pca
    clusterings: dict[Method, FittedClustering]
    mixture: FittedMixture | None = None
    failed: dict[Method, str] = field(default_factory=dict)
    map: Array | None = None

    @cached_property
    def scores(self) -> Array:
        """The members' principal components, (n, k)."""
        return self.pca.transform(self.members.vectors)

    def assigned(self, method: Method, points: Scores) -> Labels:
        """Returns the cluster of each point (p, k), (p,): of a mixture the component it most likely comes from."""
        if method == "mixture":
            assert self.mixture
            return self.mixture.labels(points)
        return assigned(self.clusterings[method], self.scores, points)


def fit_collection(
    members: Members,
    *,
    pca: Mapping[str, Any],
    clusterings: Sequence[Mapping[str, Any]],
    seed: int,
    on_step: Callable[[str], None] = lambda message: None,
) -> FittedCollection:
    """Fits components and clusterings to the members.

    pca: arguments of `fit_pca`. clusterings: for each its `method` and the arguments of that method's function. One
    that fails is in `failed`, with its reason. `on_step` is called with what is being done and may raise to stop.
    Raises SpaceError where there are no components.
    """
    seed = folded(seed)
    on_step("principal components")
    fitted = fit_pca(members.vectors, **pca, seed=seed, on_step=lambda: on_step("principal components"))
    scores = fitted.transform(members.vectors)
    found: dict[Method, FittedClustering] = {}
    failed: dict[Method, str] = {}
    mixture = None
    for wanted in clusterings:
        options = dict(wanted)
        method: Method = options.pop("method")
        try:
            if method == "mixture":
                mixture = fit_mixture(scores, **options, seed=seed, on_step=lambda k, _: on_step(f"mixture of {k}"))
                found["mixture"] = from_labels("mixture", scores, mixture.labels(scores), seed)
            else:
                found[method] = _clustering(method, scores, options, seed, on_step)
        except (ValueError, MemoryError) as error:  # SpaceError, and what a library makes of degenerate data
            failed[method] = str(error) or type(error).__name__
    return FittedCollection(members, fitted, found, mixture, failed)


def _clustering(
    method: Method, scores: Scores, options: Mapping[str, Any], seed: int, on_step: Callable[[str], None]
) -> FittedClustering:
    match method:
        case "kmeans":
            return kmeans(scores, **options, seed=seed, on_step=lambda k: on_step(f"k-means of {k}"))
        case "agglomerative":
            on_step("agglomerative clustering")
            return agglomerative(scores, **options, seed=seed)
        case _:
            on_step("HDBSCAN")
            return hdbscan(scores, **options, seed=seed)


def summary(collection: FittedCollection) -> dict[str, Any]:
    """What is worth knowing of a fit, ready for JSON."""
    ratio = collection.pca.explained_variance_ratio_
    return {
        "n_images": len(collection.members),
        "dim": collection.members.vectors.shape[1],
        "n_components": len(ratio),
        "explained_variance_ratio": [round(float(share), 6) for share in ratio],
        "components_for": {f"{mark:g}": components_for(ratio, mark) for mark in MARKS},
        "attribute_names": list(collection.members.attribute_names),
        "clusterings": {method: _of_clustering(found) for method, found in collection.clusterings.items()},
        "failed_clusterings": dict(collection.failed),
    } | ({"mixture": _of_mixture(collection.mixture)} if collection.mixture else {})


def _of_clustering(found: FittedClustering) -> dict[str, Any]:
    return {
        "n_clusters": found.n_clusters,
        "sizes": found.sizes.tolist(),
        "noise_share": round(found.noise_share, 4),
        "silhouette": found.silhouette,
        "davies_bouldin": found.davies_bouldin,
        "medoids": found.medoids_.tolist(),
        "sweep": list(found.sweep),
    }


def _of_mixture(found: FittedMixture) -> dict[str, Any]:
    return {
        "covariance_type": found.covariance_type,
        "n_components": len(found.weights_),
        "weights": [round(float(weight), 5) for weight in found.weights_],
        "sweep": list(found.sweep),
    }


# --- in a file -------------------------------------------------------------------------------------------------------


def save_collection(collection: FittedCollection, path: Path) -> None:
    """Writes an npz file of plain arrays; the same collection gives the same bytes."""
    parts: dict[str, Any] = {"members": collection.members, "pca": collection.pca}
    parts |= {f"clusterings/{method}": found for method, found in collection.clusterings.items()}
    parts |= {"mixture": collection.mixture} if collection.mixture else {}
    arrays: dict[str, NDArray[Any]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        values = {field.name: getattr(part, field.name) for field in fields(part)}
        arrays |= {f"{name}/{key}": value for key, value in values.items() if isinstance(value, np.ndarray)}
        facts[name] = {key: value for key, value in values.items() if not isinstance(value, np.ndarray)}
    facts["failed"] = {str(method): reason for method, reason in collection.failed.items()}
    arrays |= {} if collection.map is None else {"map": collection.map}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)


def load_collection(path: Path) -> FittedCollection:
    """Reads what `save_collection` wrote; nothing in the file can run."""
    with np.load(path, allow_pickle=False) as file:
        facts: dict[str, dict[str, Any]] = json.loads(str(file["facts"]))
        failed: Any = facts.pop("failed", {})
        map_ = file.get("map")
        parts = {name: _arrays_of(file, name) | _tuples(values) for name, values in facts.items()}
    return FittedCollection(
        Members(**parts.pop("members")),
        Pca(**parts.pop("pca")),
        mixture=FittedMixture(**parts.pop("mixture")) if "mixture" in parts else None,
        failed=failed,
        map=map_,
        clusterings={name.removeprefix("clusterings/"): FittedClustering(**part) for name, part in parts.items()},  # type: ignore[misc]
    )


def _arrays_of(file: Mapping[str, NDArray[Any]], name: str) -> dict[str, Any]:
    keys = [key for key in file if key.rpartition("/")[0] == name]
    return {key.rpartition("/")[2]: file[key] for key in keys}


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where these dataclasses have tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
