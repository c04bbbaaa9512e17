"""Searches beside a build of a collection, by a worker that loads torch only to encode an image or a text."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from api.generations import SMILEY
from tests.stack import Stack, wait_until

DIGITS: dict[str, Any] = {
    **{"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1, "data": "digits", "limit": 40, "seed": 1},
    **{"n_components": 5, "clusterings": [{"method": "kmeans", "n_clusters": 3}]},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with one worker for builds and one for searches."""
    made = Stack(tmp_path_factory.mktemp("searching"))
    made.start_valkey()
    made.start_api("api.main:app")
    made.start_worker("builder", "collect", app="worker.app", wait=False)
    made.start_worker("searcher", "search", app="worker.app")
    yield made
    made.stop()


def build(stack: Stack) -> str:
    return str(stack.client.post("/v1/collections", json=DIGITS).raise_for_status().json()["id"])


def child_of(stack: Stack, name: str) -> psutil.Process:
    """The process of a worker that runs its jobs."""
    [child] = psutil.Process(stack.processes[name].pid).children()
    return child


def has_torch(process: psutil.Process) -> bool:
    return any("libtorch" in each.path for each in process.memory_maps())


def test_searches_do_not_wait_for_a_build_and_load_torch_only_to_encode(stack: Stack) -> None:
    path = f"/v1/collections/{stack.finished(build(stack))['metrics']['collection']}/search"
    running = build(stack)
    wait_until(lambda: stack.job(running)["status"] == "running", 20, "the build")
    os.killpg(stack.processes["builder"].pid, signal.SIGSTOP)  # a build of any length
    try:
        for query, loads in (({"member": 3}, False), ({"vector": [0.5] * 256}, False), ({"image": SMILEY}, True)):
            job = stack.client.post(path, json=query, headers={"Prefer": "wait=30"}).json()
            child = child_of(stack, "searcher")
            resident = child.memory_info().rss / 2**20
            print(f"{query.keys()}: {job['metrics']['run_ms']} ms, child process {resident:.0f} MB")
            assert (job["status"], len(job["metrics"]["matches"])) == ("succeeded", 10), job["error"]
            assert has_torch(child) == loads
        assert stack.job(running)["status"] == "running"
    finally:
        os.killpg(stack.processes["builder"].pid, signal.SIGCONT)
    assert stack.finished(running)["status"] == "succeeded"


def test_readiness_names_the_queue_that_workers_of_an_earlier_release_do_not_serve(stack: Stack) -> None:
    stack.kill("searcher")

    def unserved() -> list[str]:
        failing = stack.client.get("/readyz").json()["failing"]
        return [each["message"] for each in failing if "'search'" in each["message"]]

    wait_until(unserved, 20, "readiness to name the queue")
    assert unserved() == ["No worker serves the queue 'search'."]
