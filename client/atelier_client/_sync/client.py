# Generated from _async by client/generate.py.
"""The client: one method for each thing the service does."""

from collections.abc import Iterator, Mapping
from typing import Any, Unpack

import httpx

from atelier_client._sync.collection import Collection
from atelier_client._sync.http import Http
from atelier_client._sync.job import Job, Output
from atelier_client.types import (
    AnimationParams,
    CollectionParams,
    GenerationParams,
    SamplingParams,
    SteeringParams,
    StyleTransferParams,
    TrainingParams,
)
from atelier_client.types.responses import CollectionData, KeptStyleDetailsData, ModelData, StyleListData


class Atelier(Http):
    """A client of one Atelier.

    Wherever a method takes an image, it takes a path, bytes, an open file, an image of Pillow, a URL or an id; files
    are uploaded once. `docs/reference/api.md` describes the fields of each request.
    """

    @property
    def http(self) -> httpx.Client:
        """The client of httpx that sends the requests."""
        return self._client

    @property
    def retries(self) -> int:
        """How often a request is sent again."""
        return int(self._retry.total)

    def style_transfer(self, **params: Unpack[StyleTransferParams]) -> Job:
        """Paints `content` in a `style`; with `mode`, synthesizes a texture or inverts features."""
        return self.start("/v1/style-transfers", params)

    def generate(self, **params: Unpack[GenerationParams]) -> Job:
        """Generates images: of a `prompt`, from an `image`, or by a `model` and a `mode`, such as `sample`."""
        return self.start("/v1/generations", params)

    def train(self, **params: Unpack[TrainingParams]) -> Job:
        """Trains a model by `recipe` on `data`: a named set, a zip file or a folder."""
        return self.start("/v1/trainings", params)

    def collect(self, **params: Unpack[CollectionParams]) -> Job:
        """Makes a collection of `images` or `data`; `collection` of the job is the collection."""
        return self.start("/v1/collections", params)

    def steer(self, **params: Unpack[SteeringParams]) -> Job:
        """Moves an image along principal components or attributes of a `collection`."""
        return self.start("/v1/pc-steerings", params)

    def sample(self, **params: Unpack[SamplingParams]) -> Job:
        """Samples images of the clusters of a `collection`."""
        return self.start("/v1/cluster-samplings", params)

    def animate(self, **params: Unpack[AnimationParams]) -> Job:
        """Animates a `path` through the space of a `collection`."""
        return self.start("/v1/pc-animations", params)

    def start(self, path: str, params: Mapping[str, Any]) -> Job:
        """Submits a job to any path that makes one, with the files in `params` uploaded."""
        return Job(self, self.submit(path, params))  # type: ignore[arg-type]

    def job(self, job_id: str) -> Job:
        """A job by its id."""
        return Job(self, (self.request("GET", f"/v1/jobs/{job_id}")).json())

    def jobs(self, *, kind: str | None = None, status: str | None = None) -> Iterator[Job]:
        """Yields the jobs, newest first."""
        for data in self.pages("/v1/jobs", "jobs", kind=kind, status=status):
            yield Job(self, data)

    def collection(self, collection_id: str) -> Collection:
        """A collection by its id, without asking the service."""
        return Collection(self, collection_id)

    def collections(self) -> list[CollectionData]:
        """All collections, newest first."""
        return [each for each in self.pages("/v1/collections", "collections")]

    def models(self) -> list[ModelData]:
        """The cards of all models."""
        models: list[ModelData] = (self.request("GET", "/v1/models")).json()["models"]
        return models

    def model(self, model_id: str) -> ModelData:
        """The card of a model."""
        model: ModelData = (self.request("GET", f"/v1/models/{model_id}")).json()
        return model

    def styles(self) -> StyleListData:
        """The built-in styles and the newest kept ones."""
        styles: StyleListData = (self.request("GET", "/v1/styles")).json()
        return styles

    def keep_style(self, name: str, output: Output) -> KeptStyleDetailsData:
        """Keeps the style of an output of a steering or a sampling in the space `style`."""
        body = {"name": name, "job": output.job_id, "output": output.data["index"]}
        style: KeptStyleDetailsData = (self.request("POST", "/v1/styles", json=body)).json()
        return style

    def pages(self, path: str, key: str, **query: Any) -> Iterator[Any]:
        """Yields the entries under `key` of all pages of a list."""
        while True:
            page = (self.request("GET", path, params=query)).json()
            for each in page[key]:
                yield each
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.base_url}>"
