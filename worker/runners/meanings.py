"""Heat maps of what the components and clusters of a collection mean."""

import numpy as np

from models.space.collection import FittedCollection, Method
from models.space.heat_maps import plot_correlations, plot_shares
from models.space.meaning import (
    MAX_COMPONENTS,
    attribute_shares,
    cluster_meanings,
    correlations,
    significant,
    strongest,
)
from worker.run import OutputImage


def correlation_plot(collection: FittedCollection) -> list[OutputImage]:
    """Correlations of the first components with attributes and image statistics, if any is defined."""
    traits = collection.traits
    r = correlations(collection.scores[:, :MAX_COMPONENTS], traits.values)
    if not (columns := strongest(r)):
        return []
    named = significant(r, (~np.isnan(traits.values)).sum(0))[:, columns]
    rows = [f"PC {component}" for component in range(len(r))]
    plot = plot_correlations(r[:, columns], rows, [traits.names[column] for column in columns], named)
    return [OutputImage(plot, "plot", name="correlations")]


def share_plot(collection: FittedCollection, method: Method) -> list[OutputImage]:
    """Share of each attribute by cluster, if the members have attributes."""
    labels = collection.clusterings[method].labels_
    names, shares, overall = attribute_shares(labels, collection.traits)
    if not names:
        return []
    sizes = collection.clusterings[method].sizes
    rows = [
        f"cluster {each['cluster']} ({sizes[each['cluster']]:,})" + (each["name"] and f": {each['name']}")
        for each in cluster_meanings(labels, collection.traits)
    ]
    return [OutputImage(plot_shares(shares, overall, rows, names), "plot", name="attribute-shares")]
