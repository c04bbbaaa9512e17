"""Names the members and the clusters of a collection of photographs by the classes of its space."""

from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import numpy as np

from models.perceptual.efficientnet import class_names
from models.space.collection import FittedCollection, Members
from models.space.photo import PhotoSpace, class_attributes, classes_of_clusters
from worker.runners.space import LoadedSpace

PREFIX = "class:"  # of attributes that are classes of the space, not labels of the user
MAX_NAMED = 256  # members in `metrics.classes`


def with_classes(space: LoadedSpace, members: Members) -> Members:
    """The members with their likeliest classes, and the first as an attribute, in the space of photographs."""
    if not isinstance(space.space, PhotoSpace):
        return members
    top, probabilities = space.space.top_classes(members.vectors)
    used, indices = np.unique(top, return_inverse=True)
    named = np.array(class_names())[used]
    attributes, names = class_attributes(named[indices.reshape(top.shape)[:, 0]])
    own = [k for k, name in enumerate(members.attribute_names) if not name.startswith(PREFIX)]
    return replace(
        members,
        attributes=np.concatenate([members.attributes[:, own], attributes], axis=1),
        attribute_names=(*(members.attribute_names[k] for k in own), *(PREFIX + name for name in names)),
        classes=indices.reshape(top.shape).astype(np.int16),
        class_probabilities=probabilities,
        class_names=tuple(named.tolist()),
    )


def class_figures(space: LoadedSpace, collection: FittedCollection) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The class of each cluster by method, and those of the first members; nothing in other spaces."""
    members = collection.members
    if not isinstance(space.space, PhotoSpace) or members.classes is None or members.class_probabilities is None:
        return {}, []
    probabilities = space.space.probabilities(members.vectors)
    by_method: dict[str, Any] = {
        method: [asdict(named) for named in classes_of_clusters(probabilities, each.labels_, each.n_clusters)]
        for method, each in collection.clusterings.items()
    }
    firsts = zip(members.names, members.classes[:, 0], members.class_probabilities[:, 0], strict=True)
    return by_method, [
        {"image": str(name), "name": members.class_names[k], "probability": round(float(probability), 3)}
        for name, k, probability in islice(firsts, MAX_NAMED)
    ]
