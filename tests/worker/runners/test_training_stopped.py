"""Trainings that stop, by the real runner, in this process, on a real Valkey."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.optim import Optimizer

from jobs.errors import Conflict
from jobs.objects import Objects
from jobs.settings import get_settings
from jobs.store.jobs import JobStore
from jobs.store.records import Record
from models.build import load_model
from models.training.run import Run
from tests.worker.runners import trainings
from tests.worker.runners.trainings import VAE, archive, failure, png_files, queue, train, weights, work
from worker.files import find_model
from worker.lease import Lease, StoppingError

jobs = trainings.jobs  # a fixture

Act = Callable[[JobStore, str], None]


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, act: Act) -> list[int]:
    """Calls a function once before a step is reported; returns the list of the steps that are reported from now on."""
    reported: list[int] = []
    real = Lease.step

    def step(self: Lease, step: int, total: int, message: str, image: Any = None, **due: bool) -> None:
        if step == number and number not in reported:
            reported.append(step)
            act(self._jobs, self._record.id)
        reported.append(step)
        real(self, step, total, message, image, **due)

    monkeypatch.setattr(Lease, "step", step)
    return reported


def test_a_requeued_training_ends_with_the_same_weights(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights(jobs, train(jobs, objects, **VAE))

    def stop(jobs: JobStore, job_id: str) -> None:
        raise StoppingError

    reported = at_step(monkeypatch, 27, stop)
    job_id = queue(jobs, **VAE)
    handed_back = work(jobs, objects)
    assert (handed_back.status, handed_back.attempt) == ("queued", 1)
    assert (handed_back.checkpoint or {})["step"] == 27, "it stopped, and its step was kept"
    reported.clear()
    reported.append(27)
    ended = work(jobs, objects)
    assert ended.id == job_id and [step for step in reported[1:] if step][:2] == [27, 28], (
        "where it resumes, and a step"
    )
    assert weights(jobs, ended) == whole


def test_a_canceled_training_keeps_its_checkpoint_and_a_retry_resumes_from_it(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights(jobs, train(jobs, objects, **VAE))
    reported = at_step(monkeypatch, 27, lambda jobs, job_id: jobs.cancel(job_id))
    canceled = train(jobs, objects, **VAE)
    assert (canceled.status, canceled.outputs, reported[-1]) == ("canceled", [], 27)
    assert canceled.checkpoint is not None and canceled.checkpoint["step"] == 27
    assert len(b"".join(objects.read(canceled.checkpoint["sha256"]))) == canceled.checkpoint["size_bytes"]
    queue(jobs, retry_of=canceled.id, **VAE)
    jobs.delete(canceled.id)
    reported.clear()
    reported.append(27)
    again = work(jobs, objects)
    assert [step for step in reported[1:] if step][:2] == [27, 28]
    assert weights(jobs, again) == whole
    assert again.metrics["model"] != f"vae-{canceled.id[-12:]}"


def test_a_training_finished_early_has_a_usable_model(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = at_step(monkeypatch, 27, lambda jobs, job_id: jobs.finish_early(job_id))
    record = train(jobs, objects, **VAE)
    assert record.status == "succeeded" and max(reported) == 27 and record.checkpoint is None
    assert record.metrics["steps"] == 27 and [output["role"] for output in record.outputs] == ["grid", "plot"]
    assert record.progress is not None and (record.progress["step"], record.progress["total"]) == (27, 27)
    card = find_model(jobs, objects, record.metrics["model"])
    assert card.training["steps_taken"] == 27 and card.training["num_steps"] == 40
    load_model(card, jobs.settings.weights_dir)
    jobs.finish_early(record.id)
    assert jobs.get(record.id).status == "succeeded", "a terminal state does not change"


def test_a_training_finished_early_ends_on_the_next_worker_too(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish_and_die(jobs: JobStore, job_id: str) -> None:
        jobs.finish_early(job_id)
        raise StoppingError

    at_step(monkeypatch, 12, finish_and_die)
    queue(jobs, **VAE)
    assert work(jobs, objects).status == "queued"
    record = work(jobs, objects)
    assert record.status == "succeeded" and record.metrics["steps"] == 13


def test_only_a_running_training_can_be_finished_early(jobs: JobStore, record: Record) -> None:
    with pytest.raises(Conflict) as error:
        jobs.finish_early(queue(jobs, **VAE))
    assert error.value.code == "job_not_running"
    with pytest.raises(Conflict) as error:
        jobs.finish_early(record.id)
    assert error.value.code == "job_not_finishable"


def test_a_dcgan_finished_before_its_encoder_has_a_warning(jobs: JobStore, objects: Objects) -> None:
    tiny = {"recipe": "dcgan", "data": "smileys", "base_channels": 8, "encoder_channels": 8, "latent_dim": 4}
    record = train(jobs, objects, **tiny, limit=32, batch_size=8, num_steps=2, encoder_share=0)
    assert [warning["code"] for warning in record.metrics["warnings"]] == ["encoder_untrained"]


@pytest.fixture
def machine(jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives this process the settings of the job store."""
    monkeypatch.setenv("ATELIER_WEIGHTS_DIR", str(jobs.settings.weights_dir))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("machine")
def test_a_training_starts_from_a_model_and_resumes_after_a_stop(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first loss is near the last one of the start, and an interruption changes nothing."""
    first = train(jobs, objects, **VAE | {"num_steps": 200, "checkpoint_every": 200})
    begun = VAE | {"start": first.metrics["model"], "learning_rate": 1e-5, "latent_dim": 2}
    whole = train(jobs, objects, **begun)
    card = jobs.models.get(whole.metrics["model"]).card
    assert card["training"]["start"] == first.metrics["model"]
    assert card["training"]["parts"]["start"] == jobs.models.get(first.metrics["model"]).card["training"]
    assert whole.metrics["losses"]["reconstruction_loss"] < 1.2 * first.metrics["losses"]["reconstruction_loss"]
    fresh = train(jobs, objects, **VAE | {"learning_rate": 1e-5})
    assert fresh.metrics["losses"]["reconstruction_loss"] > 1.3 * first.metrics["losses"]["reconstruction_loss"]

    def stop(jobs: JobStore, job_id: str) -> None:
        raise StoppingError

    at_step(monkeypatch, 27, stop)
    queue(jobs, **begun)
    assert work(jobs, objects).status == "queued"
    assert weights(jobs, work(jobs, objects)) == weights(jobs, whole)


def test_a_checkpoint_of_another_run_is_discarded(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights(jobs, train(jobs, objects, **VAE, latent_dim=4))
    at_step(monkeypatch, 27, lambda jobs, job_id: jobs.cancel(job_id))
    canceled = train(jobs, objects, **VAE)
    queue(jobs, retry_of=canceled.id, **VAE, latent_dim=4)
    assert weights(jobs, work(jobs, objects)) == whole


@pytest.mark.parametrize("data", ["smileys", "an archive"])
def test_a_cancel_is_noticed_while_images_are_read(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    reported = at_step(monkeypatch, 0, lambda jobs, job_id: jobs.cancel(job_id))
    asked = {"data": data, "limit": 2000}
    if data == "an archive":
        asked = {"data": archive(jobs, objects, png_files(60)), "image_size": 16}
    assert (train(jobs, objects, **VAE | asked).status, reported) == ("canceled", [0, 0])


def test_leftover_files_of_a_killed_attempt_are_removed(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    job_id = queue(jobs, **VAE)
    (tmp_path / "temporary" / f"atelier-{job_id}-killed").mkdir(parents=True)
    assert weights(jobs, work(jobs, objects))
    assert not list((tmp_path / "temporary").iterdir())


def test_a_run_that_diverges_keeps_its_curve_and_its_last_good_checkpoint(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_learning_rate = Run.set_learning_rate

    def infinite_once(run: Run, optimizer: Optimizer, peak: float) -> None:
        set_learning_rate(run, optimizer, math.inf if run.step == 12 else peak)

    monkeypatch.setattr(Run, "set_learning_rate", infinite_once)
    record = train(jobs, objects, **VAE | {"checkpoint_every": 5})
    error = failure(record)
    assert error["code"] == "diverged" and "learning rate" in error["message"]
    for losses in error["details"]["curve"].values():
        assert [loss is None for loss in losses] == [False] * 13 + [True] * 2  # noticed when a checkpoint is due
    assert error["details"]["every"] == 1
    assert record.checkpoint is not None and record.checkpoint["step"] == 10
    assert jobs.models.all() == []
