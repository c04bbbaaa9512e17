"""The tools: each is a request of the service, waited for and shown."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from atelier_client import AsyncAtelier
from atelier_client.mcp.content import WAIT_S, Result, followed, image_input
from atelier_client.mcp.state import State

Ctx = Context[State, Any]
ImageArgument = Annotated[
    str,
    Field(
        description="A path of a file, an https URL, an id (img_…), a member of a collection (col_…/17), or a resource "
        "(atelier://jobs/job_…/outputs/0)."
    ),
]
WaitSeconds = Annotated[
    float, Field(ge=0, le=3600, description="How long to wait for the result; follow_job waits again.")
]
Collection = Annotated[str, Field(description="The id of a collection; list_collections lists them.")]


async def style(
    ctx: Ctx,
    *,
    content: Annotated[ImageArgument, Field(description="The image to paint.")],
    style: Annotated[
        str, Field(description="A style of list_styles, such as builtin:starry-blue, or an image of one.")
    ] = "builtin:starry-blue",
    method: Annotated[
        Literal["fast", "gatys"], Field(description="gatys optimizes for minutes and needs an image as the style.")
    ] = "fast",
    size: Annotated[int, Field(description="The longer side of the result in pixels, 64 to 2048.")] = 512,
    wait_seconds: WaitSeconds = WAIT_S,
) -> Result:
    """Paint an image in the style of another (style transfer)."""
    params = {"content": await _image(ctx, content), "style": await _image(ctx, style), "method": method, "size": size}
    return await _run(ctx, "/v1/style-transfers", params, wait_seconds)


async def generate(
    ctx: Ctx,
    *,
    prompt: Annotated[str | None, Field(description="What to show; without it, random samples of a model.")] = None,
    model: Annotated[
        str | None,
        Field(description="A model of list_models; needed for samples, otherwise the service has a default."),
    ] = None,
    image: Annotated[
        ImageArgument | None, Field(description="Change this image by the prompt; without a prompt, vary it.")
    ] = None,
    mask: Annotated[
        ImageArgument | None, Field(description="White where the image is generated anew; needs image.")
    ] = None,
    n: Annotated[int, Field(description="How many images, 1 to 16.")] = 1,
    seed: Annotated[int | None, Field(description="The same seed gives the same image.")] = None,
    negative_prompt: Annotated[str | None, Field(description="What to avoid.")] = None,
    strength: Annotated[float | None, Field(description="How much of the image changes, 0.05 to 1.")] = None,
    wait_seconds: WaitSeconds = WAIT_S,
) -> Result:
    """Generate images of a text, change an image by a text, vary an image, or sample a generative model."""
    if mask and not image:
        raise ToolError("mask: Give the image that it is for.")
    number = "n" if prompt is None else "num_images_per_prompt"
    params: dict[str, Any] = {"mode": "inpaint" if mask else None, "model": model, number: n, "prompt": prompt}
    params |= {"seed": seed, "negative_prompt": negative_prompt, "strength": strength}
    params |= {"image": image and await _image(ctx, image), "mask": mask and await _image(ctx, mask)}
    return await _run(ctx, "/v1/generations", params, wait_seconds)


async def upscale(
    ctx: Ctx,
    *,
    image: ImageArgument,
    scale: Annotated[int, Field(description="How many times as large, 2 to 4.")] = 4,
    model: Annotated[str | None, Field(description="A model of list_models of task upscaling.")] = None,
    wait_seconds: WaitSeconds = WAIT_S,
) -> Result:
    """Make an image 2 to 4 times as large."""
    params = {"mode": "upscale", "model": model, "images": [await _image(ctx, image)], "scale": scale}
    return await _run(ctx, "/v1/generations", params, wait_seconds)


async def steer(
    ctx: Ctx,
    *,
    collection: Collection,
    components: Annotated[tuple[int, ...], Field(description="Numbers of principal components, from 0.")] = (0, 1, 2),
    attributes: Annotated[tuple[str, ...], Field(description="Attributes to move along, instead of components.")] = (),
    start: Annotated[ImageArgument, Field(description="The image to start from, or mean.")] = "mean",
    wait_seconds: WaitSeconds = WAIT_S,
) -> Result:
    """Move an image along principal components or attributes of a collection; the first output is a grid."""
    moved = [{"attribute": name} for name in attributes]
    along: list[Any] = moved or [{"component": number} for number in components]
    begin = start if start in ("mean", "photo") else await _image(ctx, start)
    params = {"collection": collection, "components": along, "start": begin}
    return await _run(ctx, "/v1/pc-steerings", params, wait_seconds)


async def sample(
    ctx: Ctx,
    *,
    collection: Collection,
    cluster: Annotated[int | None, Field(description="The number of a cluster, from 0; all when absent.")] = None,
    n: Annotated[int, Field(description="Samples of each cluster.")] = 4,
    wait_seconds: WaitSeconds = WAIT_S,
) -> Result:
    """Sample new images of the clusters of a collection; the first output is a sheet."""
    params = {"collection": collection, "cluster": "all" if cluster is None else cluster, "n": n}
    return await _run(ctx, "/v1/cluster-samplings", params, wait_seconds)


async def search_collection(
    ctx: Ctx,
    *,
    collection: Collection,
    text: Annotated[str | None, Field(description="In a space that embeds texts.")] = None,
    image: ImageArgument | None = None,
    member: Annotated[int | None, Field(description="The number of a member, from 0.")] = None,
    n: Annotated[int, Field(description="How many members, 1 to 100.")] = 10,
    wait_seconds: WaitSeconds = WAIT_S,
) -> Result:
    """Find the members of a collection nearest to a text, an image or a member."""
    params = {"text": text, "image": image and await _image(ctx, image), "member": member, "n": n}
    return await _run(ctx, f"/v1/collections/{collection}/search", params, wait_seconds)


async def list_models(ctx: Ctx, task: Annotated[str | None, Field(description="Only of this task.")] = None) -> str:
    """List the installed models: id, task and title."""
    models = [each for each in await _atelier(ctx).models() if each["installed_on"] and task in (None, each["task"])]
    return "\n".join(f"{each['id']} ({each['task']}): {each['title']}" for each in models) or "No model is installed."


async def list_styles(ctx: Ctx) -> str:
    """List the styles by name: those that ship and those that were kept."""
    styles = await _atelier(ctx).styles()
    lines = [f"builtin:{each['name']}" for each in styles["styles"]]
    return "\n".join([*lines, *(f"{each['id']}: {each['name']}" for each in styles["kept"])])


async def list_collections(ctx: Ctx) -> str:
    """List the collections: id, name, space and state."""
    lines = [
        f"{each['id']}: {each['name']}, space {each['space']}, {each['status']}"
        for each in await _atelier(ctx).collections()
    ]
    return "\n".join(lines) or "There is no collection."


async def follow_job(ctx: Ctx, job_id: str, wait_seconds: WaitSeconds = WAIT_S) -> Result:
    """Show a job, with its images once it has ended; waits for its end and reports progress."""
    return await followed(await _atelier(ctx).job(job_id), ctx, wait_seconds)


async def cancel_job(ctx: Ctx, job_id: str) -> str:
    """Cancel a queued or running job; a running one ends at its next step."""
    job = await (await _atelier(ctx).job(job_id)).cancel()
    return f"{job.id} is {job.status}."


TOOLS: list[Callable[..., Awaitable[Any]]] = [style, generate, upscale, steer, sample, search_collection]
TOOLS += [list_models, list_styles, list_collections, follow_job, cancel_job]


def _atelier(ctx: Ctx) -> AsyncAtelier:
    return ctx.request_context.lifespan_context.atelier


async def _image(ctx: Ctx, value: str) -> Any:
    return await image_input(_atelier(ctx), value, ctx.request_context.lifespan_context.files)


async def _run(ctx: Ctx, path: str, params: dict[str, Any], wait_s: float) -> Result:
    job = await _atelier(ctx).start(path, {name: value for name, value in params.items() if value is not None})
    return await followed(job, ctx, wait_s)
