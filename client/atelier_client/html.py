"""Jobs and outputs as HTML, for notebooks."""

from html import escape
from urllib.parse import urljoin

from atelier_client.types.responses import JobData, OutputData

SHOWN = 12  # outputs of a job


def job(data: JobData, base_url: str) -> str:
    """The state of a job: its progress, its error, or its first outputs."""
    lines = [f"<b>{escape(data['kind'])}</b> <code>{escape(data['id'])}</code>: {escape(data['status'])}"]
    if data["progress"] and data["status"] in ("running", "canceling"):
        step = data["progress"]
        lines.append(f'<progress value="{step["step"]}" max="{step["total"]}"></progress> {escape(step["message"])}')
    if data["error"]:
        lines.append(escape(data["error"]["message"]))
    lines += [escape(each["message"]) for each in data["metrics"].get("warnings", [])]
    shown = "".join(output(each, base_url) for each in data["outputs"][:SHOWN])
    if len(data["outputs"]) > SHOWN:
        shown += f" and {len(data['outputs']) - SHOWN} more"
    return "<br>".join(lines) + (f"<div>{shown}</div>" if shown else "")


def output(data: OutputData, base_url: str) -> str:
    """An output as an image or a video, which the browser loads."""
    url = escape(urljoin(base_url + "/", data["url"]), quote=True)
    title = escape(f"{data['role']} {data['index']}, seed {data['seed']}", quote=True)
    if data["content_type"].startswith("video/"):
        return f'<video src="{url}" title="{title}" width="{min(data["width"], 512)}" controls loop></video>'
    width = min(data["width"], 768 if data["role"] in ("grid", "plot") else 256)
    return f'<img src="{url}" title="{title}" alt="{title}" width="{width}" style="margin:2px">'
