"""`scripts/compose-smoke`: the compose stack on a real Docker daemon, from its build to a second `up`.

Builds the images, starts the stack under a project name of its own, runs a job of every kind to its downloaded output,
restarts each service in turn under load, takes the stack down and up again, and prints a table. Exits 1 when a row
failed. Without a Docker daemon it prints "skipped" and exits 0.
"""

import argparse
import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.stack import ROOT, TERMINAL, free_port

PROJECT = "atelier-smoke"
PHOTO = ROOT / "examples" / "photos" / "chelsea.jpg"
SECRETS = ("VALKEY_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY")
Job = dict[str, Any]
TRAINING: Job = {"recipe": "vae", "data": "digits", "limit": 128, "num_steps": 20}
COLLECTION: Job = {
    "name": "smoke",
    "space": "vae-smileys",
    "data": "smileys",
    "limit": 64,
    "clusterings": [{"method": "kmeans", "n_clusters": 3}],
}


class Compose:
    """`docker compose` for one project, with an environment file of its own."""

    def __init__(self, folder: Path) -> None:
        ports = {"ATELIER_PORT": free_port(), "S3_PORT": free_port()}
        public = f"http://127.0.0.1:{ports['S3_PORT']}"
        values = {name: secrets.token_hex(16) for name in SECRETS}
        values |= {name: str(port) for name, port in ports.items()}
        values["ATELIER_WEBHOOK_SECRET"] = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
        values |= {"COMPOSE_PROFILES": "cpu", "ATELIER_STORAGE_PUBLIC_ENDPOINT": public}
        values |= {name: os.environ.get(name, "") for name in ("TORCH_INDEX", "MODELS")}
        self.env_file = folder / ".env"
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        self.url = f"http://127.0.0.1:{ports['ATELIER_PORT']}"

    def __call__(self, *words: str) -> str:
        """Runs `docker compose WORDS`; returns its output, raises `CalledProcessError`."""
        command = ["docker", "compose", "-p", PROJECT, "--env-file", str(self.env_file), *words]
        done = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
        return done.stdout

    def services(self) -> list[str]:
        """Returns the names of the services that keep running."""
        return [name for name in self("config", "--services").split() if name != "bucket"]


class Client:
    """Sends requests to the stack, and repeats them with one idempotency key while a service is down."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30)

    def ask(self, method: str, path: str, patience_s: float = 90, **options: Any) -> httpx.Response:
        """Returns the first answer other than a broken connection, 429 or 503, and asserts that it is 2xx."""
        deadline = time.monotonic() + patience_s
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = self.http.request(method, path, **options)
                if answer.status_code not in (429, 503):
                    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
                    return answer
            assert time.monotonic() < deadline, f"{method} {path}: no answer for {patience_s} s"
            time.sleep(0.5)

    def submit(self, path: str, body: Job) -> str:
        """Submits a job and returns its id."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        return str(self.ask("POST", path, json=body, headers=headers).json()["id"])

    def ended(self, job_id: str, seconds: float = 300) -> Job:
        """Waits for the end of a job and returns it."""
        deadline = time.monotonic() + seconds
        while True:
            job: Job = self.ask("GET", f"/v1/jobs/{job_id}").json()
            if job["status"] in TERMINAL:
                return job
            assert time.monotonic() < deadline, f"{job_id} is {job['status']} after {seconds} s"
            time.sleep(0.5)

    def run(self, path: str, body: Job) -> Job:
        """Waits for a job's success, downloads every output by its link and checks its sha256."""
        job = self.ended(self.submit(path, body))
        assert job["status"] == "succeeded", f"{path}: {job['error']}"
        self.download(job)
        return job

    def download(self, job: Job) -> None:
        """Fetches the outputs by their presigned links."""
        for output in job["outputs"]:
            assert output["url"].startswith("http"), output["url"]
            data = httpx.get(output["url"], timeout=30).raise_for_status().content
            assert hashlib.sha256(data).hexdigest() == output["sha256"]


def every_kind(client: Client) -> Iterator[tuple[str, Callable[[], Job]]]:
    """Yields a name and a job for each kind; later ones use the outputs of earlier ones."""
    with PHOTO.open("rb") as file:
        photo = client.ask("POST", "/v1/images", files={"file": file}).json()["id"]
    made: dict[str, Job] = {}

    def job(name: str, path: str, body: Callable[[], Job]) -> tuple[str, Callable[[], Job]]:
        def run() -> Job:
            made[name] = client.run(path, body())
            return made[name]

        return name, run

    def collection() -> str:
        return f"col_{made['collection']['id'][4:]}"

    style, generate = "/v1/style-transfers", "/v1/generations"
    text = {"mode": "text-to-image", "model": "stable-diffusion-avatars", "prompt": "a man with a red hat"}
    steer = {"components": [{"component": 0, "strengths": [-1, 1]}], "start": {"cluster": 0}}
    yield job("style transfer, fast", style, lambda: {"content": photo, "style": "builtin:19", "size": 256})
    optimized = {"method": "gatys", "content": photo, "style": photo, "size": 64, "num_steps": 5}
    yield job("style transfer, gatys", style, lambda: optimized)
    yield job("generation, sample", generate, lambda: {"model": "dcgan-avatars", "n": 4})
    yield job("generation, text to image", generate, lambda: {**text, "num_inference_steps": 5})
    yield job("training", "/v1/trainings", lambda: TRAINING)
    yield job("generation by the trained model", generate, lambda: {"model": made["training"]["metrics"]["model"]})
    yield job("collection", "/v1/collections", lambda: COLLECTION)
    yield job("pc-steering", "/v1/pc-steerings", lambda: {"collection": collection(), **steer})
    yield job("cluster-sampling", "/v1/cluster-samplings", lambda: {"collection": collection(), "cluster": 0, "n": 2})
    film = {"path": {"cluster": 0}, "n_frames": 8, "format": "mp4"}
    yield job("pc-animation", "/v1/pc-animations", lambda: {"collection": collection(), **film})


def under_load(client: Client, disturb: Callable[[], Any]) -> str:
    """Submits jobs for every queue while `disturb` runs; every accepted job must succeed."""
    photo = client.ask("POST", "/v1/images", files={"file": PHOTO.read_bytes()}).json()["id"]
    fast = ("/v1/style-transfers", {"content": photo, "style": "builtin:19", "size": 128})
    sample = ("/v1/generations", {"model": "dcgan-avatars", "n": 2})
    mix = [fast, sample, ("/v1/trainings", TRAINING), ("/v1/collections", COLLECTION), *[fast, sample] * 4]
    accepted: list[str] = []
    over = threading.Event()
    failures: list[AssertionError] = []

    def load() -> None:
        try:
            while not over.is_set() or len(accepted) < 8:
                accepted.append(client.submit(*mix[len(accepted) % len(mix)]))
                time.sleep(0.3)
        except AssertionError as error:
            failures.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    time.sleep(1)
    disturb()
    over.set()
    thread.join()
    if failures:
        raise failures[0]
    lost = [job_id for job_id in accepted if client.ended(job_id)["status"] != "succeeded"]
    assert not lost, f"{len(lost)} of {len(accepted)} jobs did not succeed"
    return f"{len(accepted)} of {len(accepted)} accepted jobs succeeded"


def still_there(client: Client, jobs: list[Job]) -> str:
    """Checks that every earlier job, output, model and collection can be read."""
    for before in jobs:
        job: Job = client.ask("GET", f"/v1/jobs/{before['id']}").json()
        assert [output["sha256"] for output in job["outputs"]] == [output["sha256"] for output in before["outputs"]]
        client.download(job)
    models = [job["metrics"]["model"] for job in jobs if job["kind"] == "training"]
    collections = [f"col_{job['id'][4:]}" for job in jobs if job["kind"] == "collection"]
    for path in [*(f"/v1/models/{name}" for name in models), *(f"/v1/collections/{name}" for name in collections)]:
        client.ask("GET", path)
    client.run("/v1/generations", {"model": models[0]})
    return f"{len(jobs)} jobs with their outputs, {len(models)} model, {len(collections)} collection"


class Table:
    """Runs steps one after another and prints a row for each."""

    def __init__(self) -> None:
        self.failed = 0

    def row(self, name: str, step: Callable[[], Any]) -> Any:
        """Runs a step and returns its result, None if it failed."""
        started = time.monotonic()
        result, said = None, "ok"
        try:
            result = step()
            said = result if isinstance(result, str) and len(result) < 100 else said
        except (AssertionError, httpx.HTTPError, subprocess.CalledProcessError, KeyError) as error:
            self.failed += 1
            said = f"FAILED: {error}"
        print(f"| {name} | {time.monotonic() - started:.1f} s | {said} |", flush=True)
        return result


def smoke(compose: Compose, build: bool) -> int:
    """Runs all steps and returns the number of rows that failed."""
    table, client = Table(), Client(compose.url)
    print("| step | time | result |\n| --- | --- | --- |")
    if build:
        table.row("build", lambda: compose("build", "--quiet"))
    table.row("up --wait", lambda: compose("up", "-d", "--no-build", "--wait", "--quiet-pull"))
    if not table.failed:
        jobs = [job for name, run in every_kind(client) if (job := table.row(name, run))]
        for service in compose.services():
            restart = partial(compose, "restart", service)
            table.row(f"restart {service} under load", partial(under_load, client, restart))
        table.row("down, then up --wait", lambda: (compose("down"), compose("up", "-d", "--no-build", "--wait")))
        table.row("what was there before", lambda: still_there(client, jobs))
    if table.failed:
        print(compose("logs", "--tail", "60", "--no-color"), file=sys.stderr)
    return table.failed


def docker_answers() -> bool:
    """Whether a Docker daemon and Compose v2 are available."""
    probe = ["docker", "compose", "version"], ["docker", "info"]
    return bool(shutil.which("docker")) and all(
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0 for words in probe
    )


def main() -> int:
    """Parses the options and runs; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/compose-smoke", description=__doc__)
    parser.add_argument("--no-build", action="store_true", help="use the images atelier-api and atelier-worker as is")
    parser.add_argument("--keep", action="store_true", help="leave the stack running at the end")
    options = parser.parse_args()
    if not docker_answers():
        print("skipped: no Docker daemon with Compose v2 answers")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        compose = Compose(Path(folder))
        try:
            return int(smoke(compose, not options.no_build) > 0)
        finally:
            if not options.keep:
                compose("down", "--volumes", "--timeout", "10")


if __name__ == "__main__":
    sys.exit(main())
