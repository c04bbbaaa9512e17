"""Measures a real installation under many clients: `python -m bench.load` (four stages of ten minutes).

1, 16, 64 and 256 clients send mixed requests with the keys of ten tenants, each the next as soon as one is answered.
Each tenant may have `QUEUED` queued jobs, so under load each has work waiting, however many clients it has; further
submits are refused with 429. Prints for each stage the requests and jobs a second, the times by kind of request, what
failed, Jain's index of the tenants' finished jobs (Jain et al. 1984; aim over 0.95), and the resident memory of the API
and of the workers at its start (after `SETTLE_S`) and its end (aim: within 5 %).
"""

import argparse
import http.client
import json
import os
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.limits import Limits
from jobs.store.protocol import PREFIX
from tests.stack import ROOT, Stack, wait_until

STAGES, TENANTS, QUEUED = [1, 16, 64, 256], 10, 20
SETTLE_S = 60  # until batches of most sizes have run: torch keeps what it prepared for each
PRODUCTION = {"ATELIER_LEASE_S": "30", "ATELIER_SWEEP_S": "5", "ATELIER_RETRY_DELAY_S": "2"}
WORKERS = {"w-fast": "fast", "w-gpu": "gpu"}
PHOTO = (ROOT / "api" / "examples" / "coffee.webp").read_bytes()


def main() -> None:
    """Starts the stack, runs the stages and prints a table for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10, help="of each stage")
    parser.add_argument("--clients", type=int, nargs="+", default=STAGES)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), **PRODUCTION)
        try:
            start(stack, WORKERS)
            tenants = [Tenant(stack, f"t{number}") for number in range(TENANTS)]
            warm_up(tenants)
            for n_clients in args.clients:
                run_stage(stack, tenants, n_clients, args.minutes * 60)
        finally:
            stack.stop()


def start(stack: Stack, workers: Mapping[str, str]) -> None:
    """Starts the service as it is served, with workers by name for a queue each."""
    stack.start_valkey()
    stack.start_api("api.main:app")
    stack.start_upkeep()
    for name, queue in workers.items():
        stack.start_worker(name, queues=queue, app="worker.app")


class Tenant:
    """A tenant with a key and an uploaded image; keeps the ids of its latest jobs."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack, self.name = stack, name
        limits = Limits(queued_jobs=QUEUED)
        text = stack.jobs.keys.create(name, tenant=name, scopes=["read", "submit"], limits=limits)[1]
        self.headers = {"X-API-Key": text}
        self.jobs, self.done = deque[str](maxlen=20), deque[str](maxlen=20)
        self.image = Client(self, random.Random(0)).upload()["id"]

    def finished(self) -> int:
        """Number of its jobs that succeeded."""
        return int(self.stack.redis.zcard(f"{PREFIX}{self.name}/jobs:status:succeeded"))  # type: ignore[arg-type]


# --- clients --------------------------------------------------------------------------------------------------------


@dataclass
class Client:
    """One connection that sends requests of a tenant, one after another."""

    tenant: Tenant
    dice: random.Random
    connection: http.client.HTTPConnection = field(init=False)
    status: int = 0

    def __post_init__(self) -> None:
        self.connection = self.connect()

    def connect(self) -> http.client.HTTPConnection:
        """Opens a connection to the API."""
        return http.client.HTTPConnection("127.0.0.1", self.tenant.stack.api_port, timeout=120)

    def send(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> bytes:
        """Sends a request and returns the body of the response; its status is then `status`."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = self.tenant.headers | ({"Content-Type": content_type} if data else {})
        self.connection.request(method, path, data, headers)
        response = self.connection.getresponse()
        self.status = response.status
        return response.read()

    def submit(self, path: str, body: dict[str, Any]) -> None:
        """Submits a job with a seed of its own and keeps its id."""
        job = json.loads(self.send("POST", path, body | {"seed": self.dice.randrange(2**32)}))
        if self.status == 202:
            self.tenant.jobs.append(job["id"])

    def transfer(self) -> None:
        """Submits a style transfer."""
        style = f"builtin:{self.dice.randint(0, 25)}"
        self.submit(
            "/v1/style-transfers", {"method": "fast", "content": self.tenant.image, "style": style, "size": 256}
        )

    def sample(self) -> None:
        """Submits a generation by a network of one pass."""
        self.submit("/v1/generations", {"model": "dcgan-avatars", "n": 4})

    def denoise(self) -> None:
        """Submits a generation by diffusion, which runs in the queue `gpu`."""
        self.submit("/v1/generations", {"model": "ddpm-digits", "n": 4, "num_inference_steps": 10})

    def upload(self) -> dict[str, Any]:
        """Uploads an image."""
        head = b'--y\r\nContent-Disposition: form-data; name="file"; filename="a.webp"\r\n\r\n'
        body = head + PHOTO + b"\r\n--y--\r\n"
        return dict(json.loads(self.send("POST", "/v1/images", body, "multipart/form-data; boundary=y")))

    def job(self) -> None:
        """Reads a job, and notes if it has succeeded."""
        job = json.loads(self.send("GET", f"/v1/jobs/{self.tenant.jobs[0]}"))
        if job["status"] == "succeeded":
            self.tenant.done.append(job["id"])

    def listing(self) -> None:
        """Reads a page of jobs."""
        self.send("GET", f"/v1/jobs?limit=20{self.dice.choice(['', '&status=succeeded', '&kind=generation'])}")

    def output(self) -> None:
        """Reads an output of a job that succeeded, if one is known."""
        if self.tenant.done:
            self.send("GET", f"/v1/jobs/{self.dice.choice(self.tenant.done)}/outputs/0")
        else:
            self.job()

    def events(self) -> None:
        """Opens a stream of events, reads the snapshot and closes it."""
        self.connection.close()  # the API closes an idle one, which would look like an error; the next request opens it
        connection = self.connect()
        connection.request("GET", f"/v1/jobs/{self.dice.choice(self.tenant.jobs)}/events", headers=self.tenant.headers)
        response = connection.getresponse()
        self.status = response.status
        response.readline()
        connection.close()

    def cancel(self) -> None:
        """Cancels the newest job."""
        self.send("POST", f"/v1/jobs/{self.tenant.jobs[-1]}/cancel")


# Kind of request: how often it is sent, and how.
MIX: dict[str, tuple[int, Callable[[Client], object]]] = {
    "submit a style transfer": (20, Client.transfer),
    "submit a sample": (10, Client.sample),
    "submit a diffusion": (10, Client.denoise),
    "read a job": (20, Client.job),
    "list jobs": (10, Client.listing),
    "read an output": (10, Client.output),
    "upload an image": (10, Client.upload),
    "events until the snapshot": (6, Client.events),
    "cancel": (4, Client.cancel),
}


def warm_up(tenants: list[Tenant]) -> None:
    """Runs jobs of each kind, so that the models are loaded."""
    for tenant in tenants:
        client = Client(tenant, random.Random(0))
        client.transfer()
        client.sample()
        client.denoise()
    wait_until(lambda: sum(tenant.finished() for tenant in tenants) == 3 * len(tenants), 120, "the first jobs")


# --- stages ---------------------------------------------------------------------------------------------------------


def run_stage(stack: Stack, tenants: list[Tenant], n_clients: int, seconds: float) -> None:
    """Lets so many clients send requests, and prints what was measured."""
    times: dict[str, list[float]] = defaultdict(list)
    statuses: Counter[int | str] = Counter()
    end = time.monotonic() + SETTLE_S + seconds

    def send_until_the_end(number: int) -> None:
        client = Client(tenants[number % len(tenants)], random.Random(number))
        names, weights = list(MIX), [weight for weight, _ in MIX.values()]
        while time.monotonic() < end:
            [name] = client.dice.choices(names, weights)
            started = time.perf_counter()
            try:
                MIX[name][1](client)
            except (OSError, http.client.HTTPException) as error:
                statuses[type(error).__name__] += 1
                client.connection.close()
                continue
            times[name].append((time.perf_counter() - started) * 1000)
            statuses[client.status] += 1

    with ThreadPoolExecutor(n_clients) as clients:
        running = [clients.submit(send_until_the_end, number) for number in range(n_clients)]
        time.sleep(SETTLE_S)
        done, before = [tenant.finished() for tenant in tenants], memory(stack)
        requests = statuses.total()
        time.sleep(seconds)
        finished = [tenant.finished() - count for tenant, count in zip(tenants, done, strict=True)]
        requests, after = statuses.total() - requests, memory(stack)
        for one in running:
            one.result()
    print(f"\n{n_clients} clients: {requests / seconds:.0f} requests/s, {sum(finished) / seconds:.1f} jobs/s")
    print_stage(times, statuses)
    print_fairness(finished[:n_clients])
    growth = (
        f"{name} {before[name]:.0f} -> {after[name]:.0f} MB ({after[name] / before[name] - 1:+.1%})" for name in before
    )
    print(f"  resident: {', '.join(growth)}   (aim: within 5 %)", flush=True)


def print_stage(times: dict[str, list[float]], statuses: Counter[int | str]) -> None:
    """Prints the times by kind of request, and the responses that are no success."""
    print(f"  {'':28}{'n':>8}{'p50':>10}{'p95':>10}{'p99':>10}")
    for name in MIX:
        p = statistics.quantiles(times[name], n=100)
        print(f"  {name:28}{len(times[name]):8}{p[49]:8.1f}ms{p[94]:8.1f}ms{p[98]:8.1f}ms")
    refused = statuses.pop(429, 0)
    errors = {status: count for status, count in statuses.items() if status not in (200, 201, 202, 204)}
    print(f"  errors: {errors or 0}; refused by the limit of queued jobs (429): {refused}")


def print_fairness(finished: list[int]) -> None:
    """Prints Jain's index of the tenants that have clients: 1 if all get the same, 1 / n if one gets everything."""
    if len(finished) > 1:
        jain = sum(finished) ** 2 / (len(finished) * sum(count**2 for count in finished))
        jobs = f"{min(finished)} to {max(finished)} jobs each"
        print(f"  fairness: {jain:.3f} over {len(finished)} tenants, {jobs}   (aim: 0.95)")


def memory(stack: Stack, names: Sequence[str] = ("api", *WORKERS)) -> dict[str, float]:
    """Resident megabytes of processes, each with its children."""
    groups: Counter[int] = Counter()
    for path in Path("/proc").glob("[0-9]*/statm"):
        try:
            groups[os.getpgid(int(path.parent.name))] += int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (ProcessLookupError, FileNotFoundError):
            continue
    return {name: groups[stack.processes[name].pid] / 1e6 for name in names}


if __name__ == "__main__":
    main()
