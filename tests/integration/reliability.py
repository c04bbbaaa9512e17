"""Steps that the tests of the promises share."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
import numpy as np
from PIL import Image

from jobs.store.protocol import PREFIX
from tests.stack import TERMINAL, Stack, wait_until

Job = dict[str, Any]


def all_finished(stack: Stack, ids: list[str], seconds: float) -> list[Job]:
    """Waits for the end of all jobs and returns them."""
    redis = stack.redis

    def none_left() -> bool:
        pipe = redis.pipeline()
        for job_id in ids:
            pipe.hget(f"{PREFIX}job:{job_id}", "status")
        return all(status in TERMINAL for status in pipe.execute())

    wait_until(none_left, seconds, f"the end of {len(ids)} jobs")
    return [stack.job(job_id) for job_id in ids]


def right_result(stack: Stack, job: Job) -> bool:
    """Whether a succeeded job has one output, the image of its seed (see kinds.py)."""
    [output] = job["outputs"]
    url = output["url"]
    answer = stack.client.get(url)
    with Image.open(BytesIO(answer.content)) as image:
        pixels = np.asarray(image)
    expected = np.random.default_rng(job["params"]["seed"]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return job["status"] == "succeeded" and np.array_equal(pixels, expected)


def counted(jobs: list[Job]) -> Counter[str]:
    """Counts the jobs by final state."""
    return Counter(job["status"] for job in jobs)


def runs_of(stack: Stack, ids: list[str]) -> Counter[str]:
    """Counts the runs of each job."""
    return Counter(job_id for job_id, _ in stack.runs() if job_id in set(ids))


@contextlib.contextmanager
def restarted(stack: Stack, start: Callable[[], None], name: str, **env: str) -> Iterator[None]:
    """Restarts a process with other settings inside the block."""
    before = dict(stack.env)
    for settings in (before | env, before):
        stack.kill(name)
        stack.env = settings
        start()
        if settings is not before:
            yield


def ready(stack: Stack, name: str) -> bool:
    """Whether the newest process of a worker's name has said that it is ready."""
    return " ready." in stack.log(name).rpartition("[tasks]")[2]


# J11


@dataclass
class Heard:
    """Complete events that a client received, (id, type, data), and the number of broken connections."""

    events: list[tuple[str | None, str, Any]]
    cuts: int


def listen(stack: Stack, job_id: str, after: str | None, cut_after: int | None = None) -> Heard:
    """Follows a job until its stream ends or breaks, or until the client breaks it after a number of bytes."""
    headers = {"Last-Event-ID": after} if after else {}
    text, cuts = b"", 0
    with (
        contextlib.suppress(httpx.TransportError),
        httpx.Client(base_url=stack.url, timeout=30) as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer,
    ):
        cuts = 1  # unless the stream ends as it should
        assert answer.status_code in (200, 204, 503), answer.status_code
        if answer.status_code == 503:
            time.sleep(0.1)
            return Heard([], 1)
        for part in answer.iter_raw():
            text += part
            if cut_after is not None and len(text) >= cut_after:
                return Heard(parse(text[:cut_after]), 1)
        cuts = 0
    return Heard(parse(text), cuts)


def follow(stack: Stack, job_id: str, cut_after: Callable[[], int | None]) -> Heard:
    """Follows a job to its end and reconnects as a browser does; the first event is the snapshot."""
    heard, whole = Heard([], 0), False
    while not whole:
        last = str(heard.events[-1][0]) if heard.events else None
        part = listen(stack, job_id, last, cut_after())
        heard.events += part.events
        heard.cuts += part.cuts
        whole = part.cuts == 0
    return heard


def parse(stream: bytes) -> list[tuple[str | None, str, Any]]:
    """Parses the complete events of a part of a stream; comments (pings) are left out."""
    blocks = stream.decode().replace("\r\n", "\n").split("\n\n")[:-1]
    fields = [dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":")) for block in blocks]
    return [(one.get("id"), one["event"], json.loads(one["data"])) for one in fields if "event" in one]


def stored_events(stack: Stack, job_id: str, after: str) -> list[tuple[str, str]]:
    """Returns (id, type) of a job's events in Redis after a given one."""
    stored: Any = stack.redis.xrange(f"{PREFIX}events:{job_id}", f"({after}")
    return [(event_id, fields["type"]) for event_id, fields in stored]
