"""`atelier-mcp`: serves the tools over stdio, or with `--http` over streamable HTTP."""

import argparse
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from mcp_types import ToolAnnotations

from atelier_client import AsyncAtelier
from atelier_client.errors import AtelierError
from atelier_client.mcp.content import as_png, output_of
from atelier_client.mcp.state import State
from atelier_client.mcp.tools import TOOLS, Ctx

PORT = 8765
READING = ("list_models", "list_styles", "list_collections", "follow_job")
INSTRUCTIONS = (
    "Atelier makes and changes images as jobs. Tools wait for a job and show reduced images; resources have them "
    "whole. An output can be the image of the next tool by its resource, atelier://jobs/job_…/outputs/0. Where a tool "
    "says that a job still runs, follow_job waits for it."
)


def make_server(*, files: bool) -> MCPServer[State]:
    """Makes the server; `files` says whether tools may read files of this machine."""

    @asynccontextmanager
    async def lifespan(_: MCPServer[State]) -> AsyncIterator[State]:
        async with AsyncAtelier() as atelier:
            yield State(atelier, files)

    server = MCPServer("atelier", instructions=INSTRUCTIONS, lifespan=lifespan, log_level="WARNING")
    for tool in TOOLS:
        annotations = ToolAnnotations(read_only_hint=tool.__name__ in READING)
        server.add_tool(_answering(tool, ToolError), annotations=annotations, structured_output=False)
    for uri, read, kind in RESOURCES:
        server.resource(uri, mime_type=kind)(_answering(read, ResourceError))
    return server


def _answering(function: Callable[..., Awaitable[Any]], kind: type[Exception]) -> Callable[..., Awaitable[Any]]:
    """Raises an error of the client or of a file as `kind`, with its sentence."""

    @wraps(function)
    async def answered(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except AtelierError as error:
            raise kind(error.message) from error
        except OSError as error:
            raise kind(str(error)) from error

    return answered


async def image(image_id: str, ctx: Ctx) -> bytes:
    """An uploaded image, by its id."""
    response = await ctx.request_context.lifespan_context.atelier.request("GET", f"/v1/images/{image_id}/content")
    return response.content


async def job(job_id: str, ctx: Ctx) -> str:
    """A job: its status, parameters, outputs and metrics."""
    return json.dumps((await ctx.request_context.lifespan_context.atelier.job(job_id)).data, indent=2)


async def output(job_id: str, index: str, ctx: Ctx) -> bytes:
    """An output of a job, as a PNG."""
    found = output_of(await ctx.request_context.lifespan_context.atelier.job(job_id), int(index))
    if not found.data["content_type"].startswith("image/"):
        raise ResourceError(f"It is {found.data['content_type']}: download /v1/jobs/{job_id}/outputs/{index}.")
    return as_png(await found.read())


RESOURCES = (
    ("atelier://images/{image_id}", image, "image/png"),
    ("atelier://jobs/{job_id}", job, "application/json"),
    ("atelier://jobs/{job_id}/outputs/{index}", output, "image/png"),
)


def main() -> None:
    """Serves until the client ends the connection, or until it is stopped."""
    parser = argparse.ArgumentParser(prog="atelier-mcp", description="Atelier for assistants that speak MCP.")
    parser.add_argument("--http", action="store_true", help="streamable HTTP at /mcp instead of stdio")
    parser.add_argument("--host", default="127.0.0.1", help="address of --http; there is no key to reach it")
    parser.add_argument("--port", type=int, default=PORT, help="port of --http")
    args = parser.parse_args()
    server = make_server(files=not args.http)
    if args.http:
        server.run("streamable-http", host=args.host, port=args.port)
    else:
        server.run("stdio")
