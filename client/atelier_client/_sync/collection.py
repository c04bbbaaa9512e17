# Generated from _async by client/generate.py.
"""Collections: their members, components, exports and searches."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from PIL import Image

from atelier_client._sync.job import Job
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

    from atelier_client._sync.client import Atelier

PAGE = 1000


class Collection:
    """A collection by its id; each method asks the service."""

    def __init__(self, atelier: "Atelier", collection_id: str) -> None:
        self._atelier = atelier
        self.id = collection_id
        self._path = f"/v1/collections/{collection_id}"

    def details(self) -> CollectionDetailsData:
        """Its name, space, state and versions with their figures."""
        data: CollectionDetailsData = (self._atelier.request("GET", self._path)).json()
        return data

    def members(self, **filters: Any) -> Iterator[MemberData]:
        """Yields its members; filters: `cluster`, `clustering`, `with_`, `without`, `class_`, `order`, `version`."""
        query = {name.removesuffix("_"): value for name, value in filters.items()}
        return self._atelier.pages(f"{self._path}/members", "members", limit=PAGE, **query)

    def components(self, *, vectors: bool = False, version: int | None = None) -> list[PrincipalComponentData]:
        """Its principal components, with their vectors if asked."""
        pages = self._atelier.pages(f"{self._path}/components", "components", vectors=vectors, version=version)
        return [each for each in pages]

    def export(
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
        with self._atelier.stream("GET", f"{self._path}/export", params=query, follow_redirects=True) as response:
            with part.open("wb") as file:
                for block in response.iter_bytes():
                    file.write(block)
        return part.replace(target)

    def to_arrow(self, *, version: int | None = None) -> "pyarrow.Table":
        """Its members as a table of Arrow, which must be installed."""
        import pyarrow.parquet

        query = {"format": "parquet", "version": version}
        response = self._atelier.request("GET", f"{self._path}/export", params=query, follow_redirects=True)
        return pyarrow.parquet.read_table(BytesIO(response.content))

    def to_pandas(self, *, version: int | None = None) -> "pandas.DataFrame":
        """Its members as a data frame of pandas, which must be installed."""
        return (self.to_arrow(version=version)).to_pandas()

    def thumbnail(self, member_id: int) -> Image.Image:
        """The thumbnail of a member."""
        return self._atelier.image(f"{self._path}/members/{member_id}/thumbnail")

    def image(self, member_id: int) -> Image.Image:
        """The image of a member."""
        return self._atelier.image(f"{self._path}/members/{member_id}/image")

    def plots(self) -> list[str]:
        """The names of its plots."""
        return [each["name"] for each in (self._atelier.request("GET", f"{self._path}/plots")).json()["plots"]]

    def plot(self, name: str) -> Image.Image:
        """A plot, such as `t-sne`."""
        return self._atelier.image(f"{self._path}/plots/{name}")

    def draw_plots(self, **params: Unpack[PlotParams]) -> Job:
        """Draws plots for a clustering, a component or an attribute."""
        return self._atelier.start(f"{self._path}/plots", params)

    def add_images(self, **params: Unpack[AdditionParams]) -> Job:
        """Adds images, which makes the next version."""
        return self._atelier.start(f"{self._path}/images", params)

    def search(self, **params: Unpack[SearchParams]) -> Job:
        """Finds the members nearest to an image, a member, a text or a vector: `metrics["matches"]` of the job."""
        return self._atelier.start(f"{self._path}/search", params)

    def steer(self, **params: Unpack[SteeringParams]) -> Job:
        """Moves an image along principal components or attributes of this collection."""
        return self._atelier.start("/v1/pc-steerings", {"collection": self.id, **params})

    def sample(self, **params: Unpack[SamplingParams]) -> Job:
        """Samples images of its clusters."""
        return self._atelier.start("/v1/cluster-samplings", {"collection": self.id, **params})

    def animate(self, **params: Unpack[AnimationParams]) -> Job:
        """Animates a `path` through the space of this collection."""
        return self._atelier.start("/v1/pc-animations", {"collection": self.id, **params})

    def delete(self) -> None:
        """Deletes all its versions."""
        self._atelier.request("DELETE", self._path)

    def __repr__(self) -> str:
        return f"<collection {self.id}>"
