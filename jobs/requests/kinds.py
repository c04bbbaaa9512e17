"""Every kind of job, and the requests of which its params are read."""

from functools import cache
from typing import Any

from pydantic import TypeAdapter

from jobs.requests.added_model import AddedModel
from jobs.requests.animation import Animation
from jobs.requests.base import Request
from jobs.requests.collection import Collection
from jobs.requests.generation import Generation
from jobs.requests.plots import CollectionPlots
from jobs.requests.search import CollectionSearch
from jobs.requests.steering import ClusterSampling, Steering
from jobs.requests.style_transfer import StyleTransfer
from jobs.requests.training import Training

KINDS: dict[str, Any] = {
    "style-transfer": StyleTransfer,
    "generation": Generation,
    "training": Training,
    "collection": Collection,
    "collection-plots": CollectionPlots,
    "collection-search": CollectionSearch,
    "pc-steering": Steering,
    "cluster-sampling": ClusterSampling,
    "pc-animation": Animation,
    "model": AddedModel,
}


@cache
def _adapter(kind: str) -> TypeAdapter[Request]:
    return TypeAdapter(KINDS[kind])


def parse(kind: str, params: dict[str, Any]) -> Request:
    """The request that the `params` of a job's record hold; earlier names of fields are read too."""
    return _adapter(kind).validate_python(params)
