"""The client: one method for each thing the service does."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Unpack

import httpx

from atelier_client._async.collection import AsyncCollection
from atelier_client._async.http import AsyncHttp
from atelier_client._async.job import AsyncJob, AsyncOutput
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


class AsyncAtelier(AsyncHttp):
    """A client of one Atelier.

    Wherever a method takes an image, it takes a path, bytes, an open file, an image of Pillow, a URL or an id; files
    are uploaded once. `docs/reference/api.md` describes the fields of each request.
    """

    @property
    def http(self) -> httpx.AsyncClient:
        """The client of httpx that sends the requests."""
        return self._client

    @property
    def retries(self) -> int:
        """How often a request is sent again."""
        return int(self._retry.total)

    async def style_transfer(self, **params: Unpack[StyleTransferParams]) -> AsyncJob:
        """Paints `content` in a `style`; with `mode`, synthesizes a texture or inverts features."""
        return await self.start("/v1/style-transfers", params)

    async def generate(self, **params: Unpack[GenerationParams]) -> AsyncJob:
        """Generates images: of a `prompt`, from an `image`, or by a `model` and a `mode`, such as `sample`."""
        return await self.start("/v1/generations", params)

    async def train(self, **params: Unpack[TrainingParams]) -> AsyncJob:
        """Trains a model by `recipe` on `data`: a named set, a zip file or a folder."""
        return await self.start("/v1/trainings", params)

    async def collect(self, **params: Unpack[CollectionParams]) -> AsyncJob:
        """Makes a collection of `images` or `data`; `collection` of the job is the collection."""
        return await self.start("/v1/collections", params)

    async def steer(self, **params: Unpack[SteeringParams]) -> AsyncJob:
        """Moves an image along principal components or attributes of a `collection`."""
        return await self.start("/v1/pc-steerings", params)

    async def sample(self, **params: Unpack[SamplingParams]) -> AsyncJob:
        """Samples images of the clusters of a `collection`."""
        return await self.start("/v1/cluster-samplings", params)

    async def animate(self, **params: Unpack[AnimationParams]) -> AsyncJob:
        """Animates a `path` through the space of a `collection`."""
        return await self.start("/v1/pc-animations", params)

    async def start(self, path: str, params: Mapping[str, Any]) -> AsyncJob:
        """Submits a job to any path that makes one, with the files in `params` uploaded."""
        return AsyncJob(self, await self.submit(path, params))  # type: ignore[arg-type]

    async def job(self, job_id: str) -> AsyncJob:
        """A job by its id."""
        return AsyncJob(self, (await self.request("GET", f"/v1/jobs/{job_id}")).json())

    async def jobs(self, *, kind: str | None = None, status: str | None = None) -> AsyncIterator[AsyncJob]:
        """Yields the jobs, newest first."""
        async for data in self.pages("/v1/jobs", "jobs", kind=kind, status=status):
            yield AsyncJob(self, data)

    def collection(self, collection_id: str) -> AsyncCollection:
        """A collection by its id, without asking the service."""
        return AsyncCollection(self, collection_id)

    async def collections(self) -> list[CollectionData]:
        """All collections, newest first."""
        return [each async for each in self.pages("/v1/collections", "collections")]

    async def models(self) -> list[ModelData]:
        """The cards of all models."""
        models: list[ModelData] = (await self.request("GET", "/v1/models")).json()["models"]
        return models

    async def model(self, model_id: str) -> ModelData:
        """The card of a model."""
        model: ModelData = (await self.request("GET", f"/v1/models/{model_id}")).json()
        return model

    async def styles(self) -> StyleListData:
        """The built-in styles and the newest kept ones."""
        styles: StyleListData = (await self.request("GET", "/v1/styles")).json()
        return styles

    async def keep_style(self, name: str, output: AsyncOutput) -> KeptStyleDetailsData:
        """Keeps the style of an output of a steering or a sampling in the space `style`."""
        body = {"name": name, "job": output.job_id, "output": output.data["index"]}
        style: KeptStyleDetailsData = (await self.request("POST", "/v1/styles", json=body)).json()
        return style

    async def pages(self, path: str, key: str, **query: Any) -> AsyncIterator[Any]:
        """Yields the entries under `key` of all pages of a list."""
        while True:
            page = (await self.request("GET", path, params=query)).json()
            for each in page[key]:
                yield each
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.base_url}>"
