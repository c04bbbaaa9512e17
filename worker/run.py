"""Runs claimed jobs: calls the runner, stores its outputs and writes the terminal state."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any, Generic, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from redis import RedisError
from typing_extensions import TypeVar

from images.decode import over_white
from jobs.errors import AtelierError, Unavailable
from jobs.images import encode_image
from jobs.logs import about
from jobs.objects import Objects
from jobs.requests.base import Request
from jobs.requests.kinds import parse
from jobs.schemas import ANIMATION_TYPES, CONTENT_TYPES, ImageFormat, Role
from jobs.store.jobs import JobStore
from jobs.store.records import Ending, Record
from jobs.tracing import Span, span
from models.catalogue import Card
from models.errors import WeightsError
from models.sessions import available_cores
from worker import safety
from worker.failures import UNEXPECTED, failure_of
from worker.figures import json_figures
from worker.files import Files, find_model
from worker.lease import CanceledError, Lease, LeaseLostError, StoppingError
from worker.signing import sign, source_type_of

log = logging.getLogger("atelier.worker")
Pixels = NDArray[np.uint8]  # (h, w, 3)
PREVIEW_SIDE = 256


# A runner of one class takes a `Task[Sample]`; what serves all of them a `Task`.
P = TypeVar("P", bound=Request, covariant=True, default=Request)


@dataclass
class Task(Generic[P]):
    """A job as its runner sees it: parameters, images and models to read, progress to report, figures to note."""

    params: P
    report_progress: Callable[..., None]
    read_image: Callable[[str], Pixels]
    find_model: Callable[[str], Card]
    files: Files
    load_ms: float = 0
    notes: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)
    inputs: safety.Scores = field(default_factory=list)  # of the safety filter
    finishing: Callable[[], bool] = lambda: False  # whether to end after this step with the result so far
    trace: str = ""  # the traceparent of its job's span

    @property
    def seed(self) -> int:
        """The job's random state."""
        return self.params.seed or 0  # every resolved request has one

    def warn(self, code: str, message: str) -> None:
        """Adds an entry to `metrics.warnings`: a code for programs, a sentence for people."""
        self.warnings.append({"code": code, "message": message})

    def reset(self) -> Self:
        """Removes the notes and warnings of an earlier run."""
        self.notes.clear()
        self.warnings.clear()
        return self

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Counts the time inside as loading, not as running."""
        started = time.perf_counter()
        with span("load", self.trace):
            yield
        self.load_ms += _ms_since(started)


@dataclass(frozen=True)
class OutputImage:
    """An output.

    seed: where it differs from the job's. name: of a plot, by which a collection names it. format: where it is not that
    of the job. film: makes the file of an animation of its frames (n, h, w, 3), of which `pixels` is the first, and its
    recipe.
    vector: the style embedding that painted it, which the recipe then holds.
    """

    pixels: Pixels
    role: Role = "picture"
    seed: int | None = None
    name: str | None = None
    format: ImageFormat | None = None
    film: Callable[[Pixels, dict[str, Any]], bytes] | None = None
    frames: Pixels | None = None
    vector: Sequence[float] | None = None


@dataclass(frozen=True)
class JobResult:
    """What a runner returns: images, the models that made them (id to revision) and figures for `metrics`."""

    images: list[OutputImage]
    models: dict[str, str]
    versions: dict[str, str]
    metrics: dict[str, Any]
    trained: dict[str, Any] | None = None  # the card of a new model, whose files are stored
    collection: dict[str, Any] | None = None  # a new version: the sha256 of its stored `file`, and `figures`


Runner = Callable[[Task[Any]], JobResult]
# For each task its result or its error, in order, perhaps while later ones are running.
BatchRunner = Callable[[Sequence[Task[Any]]], Iterable[JobResult | Exception]]


def run_jobs(
    jobs: JobStore, objects: Objects, previews: Objects, records: Sequence[Record], runner: BatchRunner
) -> None:
    """Runs claimed jobs together, each to a state of its own; when the runner raises, they are run one by one.

    The outputs of a job are encoded and stored while others of its batch run. A job whose lease is lost is left to the
    next holder; a job of a process that is to stop is requeued.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(_about(records))
        claimed = []
        for record in records:
            hidden = partial(safety.hides, record.safety, jobs.settings)
            lease = stack.enter_context(Lease(jobs, record, partial(_store_preview, previews, hidden)))
            trace = stack.enter_context(_job_span(record))
            if accepted := _accepted(jobs, objects, record):
                claimed.append((record, _task(jobs, objects, record, *accepted, lease, trace.traceparent)))
        results = _results(runner, [task for _, task in claimed]) if claimed else []
        with ThreadPoolExecutor(available_cores()) as storing:
            ends = [
                storing.submit(_end, jobs, objects, record, task, result, started)
                for (record, task), result in zip(claimed, results, strict=True)
            ]
        for end in ends:
            end.result()


def _about(records: Sequence[Record]) -> AbstractContextManager[None]:
    def joined(values: Iterable[str]) -> str:
        return ",".join(filter(None, values))

    return about(
        job_id=joined(record.id for record in records),
        request_id=joined(record.request_id for record in records),
        traceparent=joined(record.traceparent for record in records),
        tenant=joined(dict.fromkeys(record.tenant for record in records)),
    )


def _job_span(record: Record) -> AbstractContextManager[Span]:
    facts = {"job.id": record.id, "job.queue": record.queue, "job.attempt": record.attempt}
    return span(f"job {record.kind}", record.traceparent, "consumer", **facts)


# --- 1. run ----------------------------------------------------------------------------------------------------------


def _accepted(jobs: JobStore, objects: Objects, record: Record) -> tuple[Request, safety.Scores] | None:
    """The request of a job, and the scores of its images; None, which ends the job, where it cannot or must not run."""
    try:
        safety.load(record.safety, jobs.settings)
        request = parse(record.kind, record.params)
        images = {field: image for field, image in request.image_refs().items() if field not in request.masks()}
        return request, safety.judge_inputs(record.safety, jobs.settings, images, partial(_read_image, objects))
    except (WeightsError, AtelierError) as error:
        failure = failure_of(error) or UNEXPECTED
        log.error("%s is not run: %s", record.id, failure.code)
    except (KeyError, ValidationError) as error:
        # Without the values, which may hold a prompt.
        fields = (
            [".".join(map(str, each["loc"])) for each in error.errors()] if isinstance(error, ValidationError) else []
        )
        log.error("%s cannot be read: %s %s", record.id, type(error).__name__, fields)
        failure = UNEXPECTED
    jobs.finish(record.id, record.fence, Ending("failed", metrics={}, error=failure.as_dict()))
    return None


def _task(
    jobs: JobStore, objects: Objects, record: Record, params: Request, inputs: safety.Scores, lease: Lease, trace: str
) -> Task:
    return Task(
        params,
        lease.step,
        read_image=partial(_read_image, objects),
        find_model=partial(find_model, jobs, objects),
        files=Files(jobs, objects, record),
        inputs=inputs,
        finishing=partial(getattr, lease, "finishing"),
        trace=trace,
    )


def _read_image(objects: Objects, image_id: str) -> Pixels:
    # Only the API writes img_ objects, each a PNG it encoded itself.
    with Image.open(BytesIO(objects.get(image_id.removeprefix("img_"))), formats=("PNG",)) as image:
        return np.asarray(over_white(image))


def _store_preview(previews: Objects, hidden: Callable[[Pixels], bool], image: Pixels) -> str | None:
    """Stores a small JPEG of an image; returns its sha256, or None if it is hidden or the storage is not available."""
    if hidden(image):
        return None
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    file = BytesIO()
    thumbnail.save(file, "JPEG", quality=80)
    try:
        return previews.put(file.getvalue(), "image/jpeg")
    except Unavailable:
        return None


def _results(runner: BatchRunner, tasks: Sequence[Task]) -> Iterator[JobResult | Exception]:
    """Yields the result of each task or its error; where a batch raises, the tasks left are run alone."""
    left = list(tasks)
    try:
        with ExitStack() as spans:
            for task in tasks:
                spans.enter_context(span("run", task.trace))
            for result in runner(tasks):
                left.pop(0)
                yield result
            return
    except (StoppingError, RedisError) as error:
        yield from [error] * len(left)
    except Exception as error:  # _end handles it
        if len(tasks) == 1:
            yield error
            return
        log.warning("a batch of %d is run one by one: %s", len(tasks), type(error).__name__)
        for task in left:
            yield from _results(runner, [task.reset()])


# --- 2. end ----------------------------------------------------------------------------------------------------------


def _end(
    jobs: JobStore, objects: Objects, record: Record, task: Task, result: JobResult | Exception, started: float
) -> None:
    """Stores the outputs and writes the terminal state, or does what the error means for the job."""
    with _about([record]):
        _end_logged(jobs, objects, record, task, result, started)


def _end_logged(
    jobs: JobStore, objects: Objects, record: Record, task: Task, result: JobResult | Exception, started: float
) -> None:
    def finish(status: str, **facts: Any) -> None:
        metrics = json_figures(_metrics(record, task, started) | facts.pop("metrics", {}))
        with span("finish", task.trace) as trace:
            ended = jobs.finish(record.id, record.fence, Ending(status, metrics, **facts))
            trace.attributes["job.status"] = ended
        log.info("%s attempt %d: %s after %d ms", record.id, record.attempt, ended, metrics["run_ms"])

    try:
        if isinstance(result, Exception):
            raise result
        judged = safety.judge(record.safety, jobs.settings, task.inputs, [shown(output) for output in result.images])
        with span("store", task.trace):
            outputs = [_store(objects, record, task.params, result, index) for index in range(len(result.images))]
        collection = result.collection and {**result.collection, "plots": _plots(outputs)}
        finish(
            "succeeded", outputs=outputs, metrics=result.metrics | judged, model=result.trained, collection=collection
        )
    except CanceledError:
        finish("canceled")
    except LeaseLostError:
        log.warning("%s attempt %d: lease lost, result dropped", record.id, record.attempt)
    except StoppingError:
        log.info("%s attempt %d: requeued, %s", record.id, record.attempt, jobs.release(record.id, record.fence))
    except RedisError as error:
        log.warning("%s attempt %d: left to its lease, %s", record.id, record.attempt, type(error).__name__)
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            log.exception("%s failed", record.id)
        finish("failed", error=(failure or UNEXPECTED).as_dict())


def _metrics(record: Record, task: Task, started: float) -> dict[str, Any]:
    queue_ms = (record.started_at or record.created_at) - record.created_at
    run_ms = round(_ms_since(started) - task.load_ms, 1)
    times = {"queue_ms": queue_ms, "load_ms": round(task.load_ms, 1), "run_ms": run_ms}
    return {**times, "warnings": task.warnings, **task.notes}


def _store(objects: Objects, record: Record, request: Request, result: JobResult, index: int) -> dict[str, Any]:
    """Stores an image with its recipe inside, signed if so set; returns its entry in the job's outputs."""
    params, output = record.params, result.images[index]
    recipe = {
        "kind": record.kind,
        "params": params,
        "index": index,
        "models": result.models,
        "versions": result.versions,
    } | ({} if output.vector is None else {"vector": output.vector})
    if output.film:
        data, content_type = output.film(shown(output), recipe), ANIMATION_TYPES[params["format"]]
    else:
        image_format = output.format or params["format"]
        data, content_type = encode_image(output.pixels, image_format, recipe), CONTENT_TYPES[image_format]
    data = sign(data, content_type, source_type_of(output.role, request), result.models, objects.settings)
    return {
        "index": index,
        "role": output.role,
        "name": output.name,
        "sha256": objects.put(data, content_type),
        "content_type": content_type,
        "width": output.pixels.shape[1],
        "height": output.pixels.shape[0],
        "size_bytes": len(data),
        "seed": params["seed"] if output.seed is None else output.seed,
    }


def shown(output: OutputImage) -> Pixels:
    """All images of an output, (n, h, w, 3)."""
    return output.pixels[None] if output.frames is None else output.frames


def _plots(outputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The named outputs as the collection that a job builds stores them."""
    return [{k: v for k, v in output.items() if k not in ("index", "seed")} for output in outputs if output["name"]]


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
