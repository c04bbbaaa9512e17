"""Collections: their members, components, exports and searches."""

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from PIL import Image

from atelier_client._async.job import AsyncJob
from atelier_client.types import (
    AdditionParams,
    AnimationParams,
    PlotParams,
    SamplingParams,
    SearchParams,
    SteeringParams,
)
from atelier_client.types.responses import CollectionDetailsData, MemberData, PrincipalComponentData

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from atelier_client._async.client import AsyncAtelier

PAGE = 1000


class AsyncCollection:
    """A collection by its id; each method asks the service."""

    def __init__(self, atelier: "AsyncAtelier", collection_id: str) -> None:
        self._atelier = atelier
        self.id = collection_id
        self._path = f"/v1/collections/{collection_id}"

    async def details(self) -> CollectionDetailsData:
        """Its name, space, state and versions with their figures."""
        data: CollectionDetailsData = (await self._atelier.request("GET", self._path)).json()
        return data

    def members(self, **filters: Any) -> AsyncIterator[MemberData]:
        """Yields its members; filters: `cluster`, `clustering`, `with_`, `without`, `class_`, `order`, `version`."""
        query = {name.removesuffix("_"): value for name, value in filters.items()}
        return self._atelier.pages(f"{self._path}/members", "members", limit=PAGE, **query)

    async def components(self, *, vectors: bool = False, version: int | None = None) -> list[PrincipalComponentData]:
        """Its principal components, with their vectors if asked."""
        pages = self._atelier.pages(f"{self._path}/components", "components", vectors=vectors, version=version)
        return [each async for each in pages]

    async def export(
        self,
        path: str | Path,
        format: Literal["parquet", "atlas", "projector", "npz"] = "parquet",
        *,
        version: int | None = None,
    ) -> Path:
        """Downloads all members with their scores, clusters, maps and vectors into a file, and returns its path."""
        target = Path(path)
        query = {"format": format, "version": version}
        part = target.with_name(target.name + ".part")
        async with self._atelier.stream("GET", f"{self._path}/export", params=query, follow_redirects=True) as response:
            with part.open("wb") as file:
                async for block in response.aiter_bytes():
                    file.write(block)
        return part.replace(target)

    async def to_arrow(self, *, version: int | None = None) -> "pyarrow.Table":
        """Its members as a table of Arrow, which must be installed."""
        import pyarrow.parquet

        query = {"format": "parquet", "version": version}
        response = await self._atelier.request("GET", f"{self._path}/export", params=query, follow_redirects=True)
        return pyarrow.parquet.read_table(BytesIO(response.content))

    async def to_pandas(self, *, version: int | None = None) -> "pandas.DataFrame":
        """Its members as a data frame of pandas, which must be installed."""
        return (await self.to_arrow(version=version)).to_pandas()

    async def thumbnail(self, member_id: int) -> Image.Image:
        """The thumbnail of a member."""
        return await self._atelier.image(f"{self._path}/members/{member_id}/thumbnail")

    async def image(self, member_id: int) -> Image.Image:
        """The image of a member."""
        return await self._atelier.image(f"{self._path}/members/{member_id}/image")

    async def plots(self) -> list[str]:
        """The names of its plots."""
        return [each["name"] for each in (await self._atelier.request("GET", f"{self._path}/plots")).json()["plots"]]

    async def plot(self, name: str) -> Image.Image:
        """A plot, such as `t-sne`."""
        return await self._atelier.image(f"{self._path}/plots/{name}")

    async def draw_plots(self, **params: Unpack[PlotParams]) -> AsyncJob:
        """Draws plots for a clustering, a component or an attribute."""
        return await self._atelier.start(f"{self._path}/plots", params)

    async def add_images(self, **params: Unpack[AdditionParams]) -> AsyncJob:
        """Adds images, which makes the next version."""
        return await self._atelier.start(f"{self._path}/images", params)

    async def search(self, **params: Unpack[SearchParams]) -> AsyncJob:
        """Finds the members nearest to an image, a member, a text or a vector: `metrics["matches"]` of the job."""
        return await self._atelier.start(f"{self._path}/search", params)

    async def steer(self, **params: Unpack[SteeringParams]) -> AsyncJob:
        """Moves an image along principal components or attributes of this collection."""
        return await self._atelier.start("/v1/pc-steerings", {"collection": self.id, **params})

    async def sample(self, **params: Unpack[SamplingParams]) -> AsyncJob:
        """Samples images of its clusters."""
        return await self._atelier.start("/v1/cluster-samplings", {"collection": self.id, **params})

    async def animate(self, **params: Unpack[AnimationParams]) -> AsyncJob:
        """Animates a `path` through the space of this collection."""
        return await self._atelier.start("/v1/pc-animations", {"collection": self.id, **params})

    async def delete(self) -> None:
        """Deletes all its versions."""
        await self._atelier.request("DELETE", self._path)

    def __repr__(self) -> str:
        return f"<collection {self.id}>"
