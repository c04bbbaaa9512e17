"""The tools and resources by the client of the package `mcp`, over stdio and over HTTP, on a real stack."""

import base64
import io
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import BlobResourceContents, CallToolResult, ImageContent, ResourceLink, TextContent
from PIL import Image

from atelier_client import Atelier
from tests.stack import ROOT, Stack, free_port, wait_until

FACE = ROOT / "api" / "examples" / "avatar.webp"
COMMAND = ["-m", "atelier_client.mcp"]
Use = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module")
def address(stack: Stack) -> str:
    """Where `atelier-mcp --http` listens."""
    port = free_port()
    stack.env |= {"ATELIER_URL": stack.url}
    stack.start("mcp", sys.executable, *COMMAND, "--http", "--port", str(port))
    wait_until(lambda: "Uvicorn running" in stack.log("mcp") or _answers(port), 30, "atelier-mcp")
    return f"http://127.0.0.1:{port}/mcp"


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/mcp").status_code > 0
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module", params=["stdio", "http"])
def use(request: pytest.FixtureRequest, stack: Stack, address: str) -> Iterator[Callable[[Use], None]]:
    """Runs a test with a client; those of a transport share one, and over stdio its server."""
    env = {**os.environ, "ATELIER_URL": stack.url}
    server: Any = StdioServerParameters(command=sys.executable, args=COMMAND, env=env)
    client = Client(server if request.param == "stdio" else address)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client) as connected:
        yield lambda test: portal.call(test, connected)


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult) and not result.is_error, result
    return result


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult) and result.is_error
    return text_of(result)


def text_of(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def images_of(result: CallToolResult) -> list[Image.Image]:
    found = [each for each in result.content if isinstance(each, ImageContent)]
    return [Image.open(io.BytesIO(base64.b64decode(each.data))) for each in found]


def links_of(result: CallToolResult) -> list[str]:
    return [str(each.uri) for each in result.content if isinstance(each, ResourceLink)]


def test_a_text_becomes_an_image_and_a_larger_one(use: Callable[[Use], None], atelier: Atelier) -> None:
    async def test(client: Client) -> None:
        steps: list[float] = []

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            assert total and progress <= total and message
            steps.append(progress)

        asked = {"prompt": "a smiling woman with a red hat", "n": 2, "seed": 3}
        made = await client.call_tool("generate", asked, progress_callback=progressed)
        assert isinstance(made, CallToolResult) and not made.is_error
        assert "has succeeded" in text_of(made) and [image.size for image in images_of(made)][:2] == [(256, 256)] * 2
        assert len(steps) > 2 and steps == sorted(set(steps))
        job_id = text_of(made).split()[0]
        [stored] = (await client.read_resource(links_of(made)[0])).contents
        assert isinstance(stored, BlobResourceContents) and stored.mime_type == "image/png"
        assert base64.b64decode(stored.blob) == atelier.job(job_id).outputs[0].read()
        alike = await call(client, "generate", image=links_of(made)[0], n=1)
        assert atelier.job(text_of(alike).split()[0]).params["mode"] == "vary"
        larger = await call(client, "upscale", image=links_of(made)[0], scale=4)
        assert images_of(larger)[0].size == (768, 768)
        assert (await client.read_resource(f"atelier://jobs/{job_id}")).contents[0].mime_type == "application/json"
        upload = atelier.job(text_of(larger).split()[0]).params["images"][0]
        [source] = (await client.read_resource(f"atelier://images/{upload}")).contents
        assert isinstance(source, BlobResourceContents)

    use(test)


def test_collections(use: Callable[[Use], None], faces: str) -> None:
    async def test(client: Client) -> None:
        assert faces in text_of(await call(client, "list_collections"))
        found = await call(client, "search_collection", collection=faces, member=3, n=4)
        assert '"similarity"' in text_of(found) and images_of(found)
        steered = await call(client, "steer", collection=faces, components=[0], start=f"{faces}/0")
        assert images_of(steered)
        sampled = await call(client, "sample", collection=faces, cluster=0, n=2)
        assert len(links_of(sampled)) == 3

    use(test)


@pytest.fixture(scope="module")
def faces(stack: Stack) -> str:
    with Atelier(stack.url) as atelier:
        return (
            atelier.collect(
                name="Faces",
                space="vae-smileys",
                data="smileys",
                limit=24,
                clusterings=[{"method": "kmeans", "n_clusters": 2}],
            )
            .wait()
            .collection.id
        )


def test_lists(use: Callable[[Use], None]) -> None:
    async def test(client: Client) -> None:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names[:3] == ["style", "generate", "upscale"] and "cancel_job" in names
        models = text_of(await call(client, "list_models", task="text-to-image"))
        assert models.startswith("stable-diffusion-avatars (text-to-image): ")
        assert "builtin:starry-blue" in text_of(await call(client, "list_styles")).splitlines()

    use(test)


def test_a_long_job_is_followed_and_canceled(use: Callable[[Use], None]) -> None:
    async def test(client: Client) -> None:
        asked = {"prompt": "a man with glasses", "n": 16, "wait_seconds": 0}
        started = text_of(await call(client, "generate", **asked))
        job_id = started.split()[0]
        assert "Call follow_job" in started
        assert "cancel" in text_of(await call(client, "cancel_job", job_id=job_id))
        assert "is canceled" in text_of(await call(client, "follow_job", job_id=job_id))

    use(test)


def test_errors_are_the_sentences_of_the_service(use: Callable[[Use], None]) -> None:
    async def test(client: Client) -> None:
        message = await refused(client, "generate", prompt="a man", model="dall-e-3")
        assert "No model that generates is called 'dall-e-3'" in message and "stable-diffusion-avatars" in message
        assert "no such job" in await refused(client, "follow_job", job_id="job_" + "0" * 24)
        assert "Give the image that it is for" in await refused(client, "generate", prompt="a", mask="img_1")
        size = {"content": f"{'img_' + '0' * 64}", "size": 10}
        assert await refused(client, "style", **size) == "Error executing tool style: `size` must be at least 64."
        with pytest.raises(MCPError, match="is stored here"):
            await client.read_resource("atelier://images/img_" + "0" * 64)

    use(test)


def test_files_are_read_over_stdio_only(use: Callable[[Use], None], request: pytest.FixtureRequest) -> None:
    async def test(client: Client) -> None:
        asked = {"content": str(FACE), "size": 64}
        if request.node.callspec.params["use"] == "stdio":
            assert images_of(await call(client, "style", **asked))[0].size == (64, 64)
            assert "there is no file" in await refused(client, "style", content="nowhere.png")
        else:
            assert "over HTTP no files of this machine are read" in await refused(client, "style", **asked)

    use(test)
