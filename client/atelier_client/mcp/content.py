"""Images in and out of tools: what an assistant refers to, and outputs small enough for its context."""

import io
import json
import re
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from mcp.server.mcpserver.utilities.types import Image as SmallImage
from mcp_types import ResourceLink
from PIL import Image

from atelier_client import AsyncAtelier, AsyncJob, AsyncOutput
from atelier_client.errors import WaitTimeoutError

MAX_SIDE, MAX_BYTES = 768, 200_000  # of an image in a result; resources have it whole
SHOWN = 4  # images of a result
FIGURES = ("matches", "collection", "model")  # of a job's metrics
WAIT_S = 50  # many clients give a tool a minute
IMAGE = re.compile(r"atelier://images/(img_[0-9a-f]{64})")
OUTPUT = re.compile(r"atelier://jobs/(job_[0-9a-f]{24})/outputs/(\d{1,4})")
REMOTE = ("img_", "col_", "https://", "data:", "builtin:", "style-", "atelier://")

Result = list[str | SmallImage | ResourceLink]


async def image_input(atelier: AsyncAtelier, value: str, files: bool) -> Any:
    """What the client takes for an image that a tool was given: an id, a URL, a resource, or a file where `files`."""
    if known := IMAGE.fullmatch(value):
        return known[1]
    if output := OUTPUT.fullmatch(value):
        return await output_of(await atelier.job(output[1]), int(output[2])).read()
    if not files and not value.startswith(REMOTE):
        raise ToolError(f"{value!r} is no id and no https: or data: URL; over HTTP no files of this machine are read.")
    return value


def output_of(job: AsyncJob, index: int) -> AsyncOutput:
    """An output of a job by its index."""
    if index >= len(job.outputs):
        raise ResourceError(f"{job.id} has {len(job.outputs)} outputs; its status is {job.status}.")
    return job.outputs[index]


async def followed(job: AsyncJob, ctx: Context[Any, Any], wait_s: float) -> Result:
    """Reports the progress of a job until it ends or the time is over, and describes it.

    Progress must grow in this protocol: what counts anew, such as the images that are upscaled at the end, is added.
    """
    before, last = 0, (0, 0)  # steps of earlier parts; the last step and the total of this one
    try:
        async for event in job.events(timeout=wait_s):
            step = event.data.get("progress") if event.type == "snapshot" else event.data
            if event.type not in ("snapshot", "progress") or not step or (step["step"], step["total"]) == last:
                continue
            if step["step"] <= last[0] or step["total"] != last[1]:
                before += last[1]
            last = step["step"], step["total"]
            await ctx.report_progress(before + step["step"], before + step["total"], step["message"])
    except WaitTimeoutError:
        await job.refresh()
    return await described(job)


async def described(job: AsyncJob) -> Result:
    """A job as text, its first images, and links to all of its outputs; raises ToolError for one that failed."""
    if job.error:
        raise ToolError(f"{job.id} failed: {job.error['message']} ({job.error['code']})")
    if not job.done:
        share = f", {job.progress['fraction']:.0%} done" if job.progress else ""
        return [f"{job.id} ({job.kind}) is {job.status}{share}. Call follow_job with this id for its result."]
    lines = [f"{job.id} ({job.kind}) {'has' if job.status == 'succeeded' else 'is'} {job.status}."]
    lines += [f"Warning: {warning}" for warning in job.warnings]
    lines += [f"{name}: {json.dumps(job.metrics[name])}" for name in FIGURES if name in job.metrics]
    result: Result = ["\n".join(lines)]
    images = [output for output in job.outputs if output.data["content_type"].startswith("image/")]
    result += [reduced(await output.read()) for output in images[:SHOWN]]
    return [*result, *map(link, job.outputs)]


def link(output: AsyncOutput) -> ResourceLink:
    """An output as a resource."""
    index, (width, height) = output.data["index"], output.size
    return ResourceLink(
        uri=f"atelier://jobs/{output.job_id}/outputs/{index}",
        name=f"{output.role} {index}",
        description=f"{width} x {height}, seed {output.seed}",
        mime_type=output.data["content_type"],
        size=output.data["size_bytes"],
    )


def reduced(data: bytes) -> SmallImage:
    """An image as it is where it is small, else as a JPEG of at most MAX_SIDE pixels a side."""
    image = Image.open(io.BytesIO(data))
    if max(image.size) <= MAX_SIDE and len(data) <= MAX_BYTES:
        return SmallImage(data=data, format=(image.format or "png").lower())
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=85)
    return SmallImage(data=file.getvalue(), format="jpeg")


def as_png(data: bytes) -> bytes:
    """An image, or the first frame of an animation, as a PNG."""
    image = Image.open(io.BytesIO(data))
    if image.format == "PNG":
        return data
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return file.getvalue()
