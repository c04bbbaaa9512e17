"""Claimed jobs from start to end: run it, store what it made, then write the terminal state."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from redis import RedisError

from images.decode import over_white
from jobs.errors import AtelierError, Unavailable
from jobs.images import encode_image
from jobs.objects import Objects
from jobs.schemas import CONTENT_TYPES, Role
from jobs.store.jobs import JobStore
from jobs.store.records import Record
from models.catalogue import Card
from models.pixels import NotFiniteError
from worker.files import Files, find_model
from worker.lease import CanceledError, Lease, LeaseLostError, StoppingError

log = logging.getLogger("atelier.worker")
Pixels = NDArray[np.uint8]  # (h, w, 3)
PREVIEW_SIDE = 256


@dataclass
class Task:
    """What a runner may do with its job: read the parameters and images, say how far it is, note what it used."""

    params: dict[str, Any]
    step: Callable[..., None]
    read_image: Callable[[str], Pixels]
    find_model: Callable[[str], Card]
    files: Files | None = None
    load_ms: float = 0
    notes: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)
    finishing: Callable[[], bool] = lambda: False  # whether to end after this step with what there is

    def warn(self, code: str, message: str) -> None:
        """Adds an entry to `metrics.warnings`: a code for programs, a sentence for people."""
        self.warnings.append({"code": code, "message": message})

    def anew(self) -> "Task":
        """This task without what an earlier run noted."""
        self.notes.clear()
        self.warnings.clear()
        return self

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Count the time inside as loading, not running."""
        started = time.perf_counter()
        yield
        self.load_ms += _ms_since(started)


@dataclass(frozen=True)
class Picture:
    """One output: what it is, and the seed it was made with where that is not the job's.

    `name` is that of a plot, by which a collection has it.
    """

    pixels: Pixels
    role: Role = "picture"
    seed: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class Made:
    """What a runner returns: the pictures, the models that made them (id to revision) and figures for `metrics`."""

    pictures: list[Picture]
    models: dict[str, str]
    versions: dict[str, str]
    metrics: dict[str, Any]
    trained: dict[str, Any] | None = None  # the card of a new model, whose files are stored
    collection: dict[str, Any] | None = None  # a new version: the sha256 of its stored `file`, and `figures`


Runner = Callable[[Task], Made]
BatchRunner = Callable[[Sequence[Task]], Sequence[Made | Exception]]  # a result for each, or what ended it


def run_job(jobs: JobStore, objects: Objects, previews: Objects, record: Record, runner: Runner) -> None:
    """Run a claimed job to a terminal state.

    If its lease is lost on the way it is left to its new holder; if this process is told to stop it is handed back.
    """
    run_jobs(jobs, objects, previews, [record], lambda tasks: [runner(tasks[0])])


def run_jobs(
    jobs: JobStore, objects: Objects, previews: Objects, records: Sequence[Record], runner: BatchRunner
) -> None:
    """Runs claimed jobs together, each to an end of its own: a batch that the runner raises for is run one by one."""

    def show(picture: Pixels) -> str | None:
        try:
            return previews.put(_thumbnail(picture), "image/jpeg")
        except Unavailable:
            return None

    started = time.perf_counter()
    with ExitStack() as stack:
        tasks = []
        for record in records:
            lease = stack.enter_context(Lease(jobs, record, show))
            task = Task(
                record.params,
                lease.step,
                read_image=lambda image_id: _pixels(objects, image_id),
                find_model=lambda model_id: find_model(jobs, objects, model_id),
                files=Files(jobs, objects, record),
                finishing=partial(getattr, lease, "finishing"),
            )
            tasks.append(task)
        for record, task, result in zip(records, tasks, _results(runner, tasks), strict=True):
            _end(jobs, objects, record, task, result, started)


def _results(runner: BatchRunner, tasks: Sequence[Task]) -> Sequence[Made | Exception]:
    """The runner's result for each task; what one of them makes it raise ends that one alone."""
    try:
        return list(runner(tasks))
    except (StoppingError, RedisError) as error:
        return [error] * len(tasks)
    except Exception as error:  # told for each job in _end
        if len(tasks) == 1:
            return [error]
        log.warning("a batch of %d is run one by one: %s", len(tasks), type(error).__name__)
        return [_results(runner, [task.anew()])[0] for task in tasks]


def _end(
    jobs: JobStore, objects: Objects, record: Record, task: Task, result: Made | Exception, started: float
) -> None:
    """Store what was made and write the terminal state, or what an exception means for the job."""

    def finish(status: str, **facts: Any) -> None:
        metrics = _finite(_metrics(record, task, started) | facts.pop("metrics", {}))
        ended = jobs.finish(record.id, record.fence, status, metrics=metrics, **facts)
        log.info("%s attempt %d: %s after %d ms", record.id, record.attempt, ended, metrics["run_ms"])

    try:
        if isinstance(result, Exception):
            raise result
        outputs = [_store(objects, record, result, index) for index in range(len(result.pictures))]
        collection = result.collection and {**result.collection, "plots": _plots(outputs)}
        finish("succeeded", outputs=outputs, metrics=result.metrics, model=result.trained, collection=collection)
    except CanceledError:
        finish("canceled")
    except LeaseLostError:
        log.warning("%s attempt %d: lease lost, result dropped", record.id, record.attempt)
    except StoppingError:
        log.info("%s attempt %d: handed back, %s", record.id, record.attempt, jobs.release(record.id, record.fence))
    except AtelierError as error:
        finish("failed", error=error.as_dict())
    except NotFiniteError as error:
        finish("failed", error=AtelierError("not_finite", f"{error} {_FEWER}").as_dict())
    except RedisError as error:
        log.warning("%s attempt %d: left to its lease, %s", record.id, record.attempt, type(error).__name__)
    except Exception:
        log.exception("%s failed", record.id)
        finish("failed", error=_INTERNAL)


_FEWER = "A smaller scale, weight or guidance may help; otherwise the model's weights are at fault."
_INTERNAL = {"code": "internal", "message": "The job failed in a way nobody foresaw; the worker's log says how."}


def _metrics(record: Record, task: Task, started: float) -> dict[str, Any]:
    queue_ms = (record.started_at or record.created_at) - record.created_at
    run_ms = round(_ms_since(started) - task.load_ms, 1)
    times = {"queue_ms": queue_ms, "load_ms": round(task.load_ms, 1), "run_ms": run_ms}
    return {**times, "warnings": task.warnings, **task.notes}


def _finite(value: Any) -> Any:
    """Figures with null for each that is NaN or infinite, of which JSON knows neither."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pixels(objects: Objects, image_id: str) -> Pixels:
    # Only the API writes img_ objects, each a PNG it encoded itself.
    with Image.open(BytesIO(objects.get(image_id.removeprefix("img_"))), formats=("PNG",)) as image:
        return np.asarray(over_white(image))


def _store(objects: Objects, record: Record, made: Made, index: int) -> dict[str, Any]:
    """Store one picture with its recipe inside, and return its entry in the job's outputs."""
    params, picture = record.params, made.pictures[index]
    pixels = picture.pixels
    recipe = {
        "kind": record.kind,
        "params": params,
        "index": index,
        "models": made.models,
        "versions": made.versions,
    }
    data = encode_image(pixels, params["format"], recipe)
    content_type = CONTENT_TYPES[params["format"]]
    return {
        "index": index,
        "role": picture.role,
        "name": picture.name,
        "sha256": objects.put(data, content_type),
        "content_type": content_type,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "size_bytes": len(data),
        "seed": params["seed"] if picture.seed is None else picture.seed,
    }


def _plots(outputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the named outputs as the collection that a job builds keeps them."""
    return [{k: v for k, v in output.items() if k not in ("index", "seed")} for output in outputs if output["name"]]


def _thumbnail(picture: Pixels) -> bytes:
    image = Image.fromarray(picture)
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    file = BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
