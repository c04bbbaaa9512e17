"""What a child process of a worker does besides jobs: it takes a GPU, loads models at its start and evicts them."""

import logging
import os
import threading
from pathlib import Path
from typing import Any

from billiard import current_process

from jobs.memory import limit_arenas
from jobs.objects import Objects
from jobs.settings import Settings, get_settings
from jobs.store.jobs import JobStore
from worker.heartbeat import open_store, repeat
from worker.runners import loaded
from worker.runners.lazy import lazy

log = logging.getLogger("atelier.worker")
VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = Path("/dev")


def start_child(**_: Any) -> None:
    """Runs in each child process when it starts."""
    limit_arenas()  # before the threads that allocate
    settings = get_settings()
    pin_to_gpu(current_process().index)  # a child that replaces another takes over its index
    jobs = open_store(settings)
    repeat(Unloading(jobs), threading.Event(), "unloading")
    if settings.warm_models:
        threading.Thread(target=warm_up, args=(jobs, settings), name="warm-up", daemon=True).start()


def pin_to_gpu(index: int) -> None:
    """Makes one of several GPUs the only one of this process; before torch is loaded, which then reads the variable."""
    named = os.environ.get(VISIBLE)
    gpus = named.split(",") if named else list(map(str, range(len(list(DEVICES.glob("nvidia[0-9]*"))))))
    if len(gpus) > 1:
        os.environ[VISIBLE] = gpus[index % len(gpus)]
        log.info("child %d uses GPU %s", index, os.environ[VISIBLE])


def warm_up(jobs: JobStore, settings: Settings) -> None:
    """Loads the models of ATELIER_WARM_MODELS, while the first jobs may already run; one that fails is logged."""
    load = lazy("warm", "load")
    objects = Objects(settings, jobs, retry_s=settings.storage_retry_s)
    for model_id in settings.warm_model_ids:
        try:
            load(jobs, objects, model_id)
            log.info("%s is loaded", model_id)
        except Exception:  # a job that needs the model fails with the reason
            log.exception("%s cannot be loaded", model_id)


class Unloading:
    """Evicts the models that were unloaded by the API since the last call."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._since: int | None = None  # by Redis's clock

    def __call__(self) -> None:
        """Evicts; a job that uses a model keeps it until its end."""
        self._since, unloaded = self._jobs.models.unloaded(self._since)
        for model_id in unloaded:
            if loaded.evict(model_id):
                log.info("%s is unloaded", model_id)
