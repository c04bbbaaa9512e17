"""Names the members and the clusters of a collection of photographs by the classes of its space."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from models.space.collection import FittedCollection, Members
from models.space.photo import NamedClass, PhotoSpace, class_attributes, classes_of_clusters, likeliest
from worker.runners.space import LoadedSpace

PREFIX = "class:"  # of attributes that are classes of the space, not labels of the user
MAX_NAMED = 256  # members in `metrics.classes`


def with_classes(space: LoadedSpace, members: Members) -> Members:
    """The members with the likeliest class of each as an attribute, in the space of photographs."""
    if not isinstance(space.space, PhotoSpace):
        return members
    classes, names = class_attributes(likeliest(space.space.probabilities(members.vectors)))
    own = [k for k, name in enumerate(members.attribute_names) if not name.startswith(PREFIX)]
    return replace(
        members,
        attributes=np.concatenate([members.attributes[:, own], classes], axis=1),
        attribute_names=(*(members.attribute_names[k] for k in own), *(PREFIX + name for name in names)),
    )


def class_figures(space: LoadedSpace, collection: FittedCollection) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The class of each cluster by method, and those of the first members; nothing in other spaces."""
    if not isinstance(space.space, PhotoSpace):
        return {}, []
    probabilities = space.space.probabilities(collection.members.vectors)
    by_method: dict[str, Any] = {
        method: _figures(classes_of_clusters(probabilities, each.labels_, each.n_clusters))
        for method, each in collection.clusterings.items()
    }
    names = collection.members.names[:MAX_NAMED].tolist()
    of_members = _figures(likeliest(probabilities[:MAX_NAMED]))
    return by_method, [{"image": name, **each} for name, each in zip(names, of_members, strict=True)]


def _figures(classes: Sequence[NamedClass]) -> list[dict[str, Any]]:
    return [asdict(each) for each in classes]
