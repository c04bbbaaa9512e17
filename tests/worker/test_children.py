"""The GPU of a child process, and the models that it loads and evicts beside its jobs."""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.objects import Objects
from jobs.store.jobs import JobStore
from tests.stack import Stack, wait_until
from tests.worker.tasks import forget
from worker import children
from worker.children import VISIBLE, Unloading, pin_to_gpu, warm_up
from worker.runners import loaded


@pytest.mark.parametrize(
    ("named", "nodes", "expected"),
    [
        (None, 0, [None, None]),  # no GPU
        (None, 1, [None, None]),  # the only one
        (None, 3, ["0", "1", "2", "0"]),
        ("4,6", 3, ["4", "6", "4"]),
        ("MIG-a,MIG-b", 1, ["MIG-a", "MIG-b"]),
        ("5", 3, ["5", "5"]),
    ],
)
def test_each_child_gets_a_gpu_of_its_own(
    named: str | None, nodes: int, expected: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvidiactl", "nvidia-uvm", "null", *(f"nvidia{n}" for n in range(nodes))):
        (tmp_path / name).touch()
    monkeypatch.setattr(children, "DEVICES", tmp_path)
    for index, gpu in enumerate(expected):
        with monkeypatch.context() as child:
            child.delenv(VISIBLE, raising=False)
            if named:
                child.setenv(VISIBLE, named)
            pin_to_gpu(index)
            assert os.environ.get(VISIBLE) == gpu


@pytest.fixture
def cached() -> Iterator[None]:
    """An empty cache."""
    forget()
    yield
    forget()


def names() -> list[str]:
    return [name for name, _ in loaded._entries]


def test_models_are_warmed_up_and_unloaded(
    cached: None, jobs: JobStore, objects: Objects, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = jobs.settings.model_copy(update={"warm_models": "fast-multistyle, nowhere,vae-digits-2 ,vgg16"})
    warm_up(jobs, settings)
    assert names() == ["fast-multistyle", "vae-digits-2", "vgg16"]
    assert "nowhere cannot be loaded" in caplog.text
    unloading = Unloading(jobs)
    jobs.models.unload("vgg16")
    time.sleep(0.002)  # times are whole milliseconds, and the first of a look belongs to it
    unloading()
    assert "vgg16" in names(), "unloaded before this process started"
    jobs.models.unload("vae-digits-2")
    unloading()
    assert names() == ["fast-multistyle", "vgg16"]
    evictions = loaded.counts["model_evictions"]
    jobs.models.unload("vae-digits-2")
    unloading()
    assert loaded.counts["model_evictions"] == evictions, "it was not cached"


def test_every_child_of_a_real_worker_is_pinned_warmed_up_and_unloaded(tmp_path: Path) -> None:
    stack = Stack(tmp_path, CUDA_VISIBLE_DEVICES="3,5", ATELIER_WARM_MODELS="fast-multistyle")
    try:
        stack.start_valkey()
        stack.start("w", "celery", "-A", "worker.app", "worker", "-Q", "fast", "-c", "2", "-n", "w@test")

        def logged(text: str, times: int) -> bool:
            return stack.log("w").count(text) == times

        wait_until(lambda: logged("fast-multistyle is loaded", 2), 60, "both children to load the model")
        assert logged("child 0 uses GPU 3", 1) and logged("child 1 uses GPU 5", 1)
        stack.jobs.models.unload("fast-multistyle")
        wait_until(lambda: logged("fast-multistyle is unloaded", 2), 20, "both children to evict the model")
    finally:
        stack.stop()
