"""Requests with retries, errors as exceptions, and uploads that happen once."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx
from httpx_retries import Retry, RetryTransport
from PIL import Image

from atelier_client.errors import ImageNotFoundError, ServiceUnreachableError, error_of
from atelier_client.inputs import Upload, replaced, upload_of, uploads
from atelier_client.settings import BACKOFF_S, MAX_BACKOFF_S, Connection


class AsyncHttp:
    """A connection to a service; `AsyncAtelier` adds what it does."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 60,
        retries: int = 6,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        connection = Connection.resolved(base_url, api_key)
        self.base_url = connection.base_url
        self._retry = Retry(total=retries, backoff_factor=BACKOFF_S, max_backoff_wait=MAX_BACKOFF_S)
        # A POST is sent again only if it may be: with an Idempotency-Key, or because its effect is the same twice.
        self._retry_post = Retry(
            total=retries, backoff_factor=BACKOFF_S, max_backoff_wait=MAX_BACKOFF_S, allowed_methods=["POST"]
        )
        self._client = httpx.AsyncClient(
            base_url=self.base_url,
            headers=connection.headers,
            timeout=timeout,
            transport=RetryTransport(transport or httpx.AsyncHTTPTransport(), self._retry),
        )
        self._uploaded: dict[tuple[str, str], str] = {}  # route and sha256: id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def request(self, method: str, path: str, *, retry_post: bool = False, **options: Any) -> httpx.Response:
        """Sends a request to any path of the API; `options` are those of httpx, without `params` that are None.

        Raises:
            APIError: The response is an error.
            ServiceUnreachableError: There is no response.
        """
        extensions = {"retry": self._retry_post} if retry_post else {}
        try:
            response = await self._client.request(method, path, extensions=extensions, **_given(options))
        except httpx.TransportError as error:
            raise _unreachable(self.base_url, error) from error
        if response.is_error:
            raise error_of(response)
        return response

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """As `request`, with a body that is read in parts."""
        try:
            async with self._client.stream(method, path, **_given(options)) as response:
                if response.is_error:
                    await response.aread()
                    raise error_of(response)
                yield response
        except httpx.TransportError as error:
            raise _unreachable(self.base_url, error) from error

    async def image(self, path: str) -> Image.Image:
        """The image at a path of the API, or the first frame of an animation."""
        image = Image.open(BytesIO((await self.request("GET", path, follow_redirects=True)).content))
        image.load()
        return image

    async def upload(self, image: Any) -> str:
        """Uploads an image and returns its id; the id of what this client has uploaded before, or of an id, at once."""
        upload = upload_of(image)
        return image if upload is None else await self._upload(upload)

    async def upload_file(self, file: Any) -> str:
        """Uploads a zip, npz or parquet file, or a folder of images as a zip file, and returns its id."""
        upload = upload_of(file, "data")
        return file if upload is None else await self._upload(upload)

    async def submit(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Uploads the files in parameters, submits a job and returns its JSON; a retry makes no second job."""
        found = list(uploads(params))
        key = str(uuid.uuid4())
        try:
            return await self._submit(path, params, found, key)
        except ImageNotFoundError:  # an upload has expired since
            for _, upload in found:
                self._uploaded.pop((upload.route, upload.sha256), None)
            return await self._submit(path, params, found, str(uuid.uuid4()))

    async def _submit(
        self, path: str, params: Mapping[str, Any], found: list[tuple[tuple[str | int, ...], Upload]], key: str
    ) -> dict[str, Any]:
        body = replaced(params, {where: await self._upload(upload) for where, upload in found})
        headers = {"Idempotency-Key": key}
        response = await self.request("POST", path, json=body, headers=headers, retry_post=True)
        return dict(response.json())

    async def _upload(self, upload: Upload) -> str:
        known = (upload.route, upload.sha256)
        if known not in self._uploaded:
            if isinstance(upload.content, Path):
                with upload.content.open("rb") as file:
                    self._uploaded[known] = await self._send(upload, file)
            else:
                self._uploaded[known] = await self._send(upload, upload.content)
        return self._uploaded[known]

    async def _send(self, upload: Upload, content: bytes | IO[bytes]) -> str:
        response = await self.request("POST", upload.route, files={"file": (upload.name, content)}, retry_post=True)
        return str(response.json()["id"])


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Options without the parameters that are None."""
    params = options.get("params") or {}
    return {**options, "params": {name: value for name, value in params.items() if value is not None}}


def _unreachable(base_url: str, error: Exception) -> ServiceUnreachableError:
    return ServiceUnreachableError(f"{base_url} does not respond: {error or type(error).__name__}")
