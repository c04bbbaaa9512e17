"""Trainings through the whole service: killed, canceled, taken up again, and the models they end in."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.store.records import NewJob
from tests.stack import Stack, wait_until

Job = dict[str, Any]
# Some seconds of steps, so that a kill or a cancel meets the middle of them.
TRAINING: Job = {
    "recipe": "vae",
    "data": "digits",
    "limit": 64,
    "batch_size": 64,
    "num_steps": 400,
    "sample_every": 400,
    "checkpoint_every": 20,
    "seed": 5,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with one worker, for trainings."""
    folder = tmp_path_factory.mktemp("trainings")
    made = Stack(folder, ATELIER_WEIGHTS_DIR=str(folder / "weights"))
    made.start_valkey()
    made.start_api()
    made.start_upkeep()
    made.start_worker("trainer", "train", app="worker.app")
    yield made
    made.stop()


def start(stack: Stack, **changed: Any) -> str:
    answer = stack.client.post("/v1/trainings", json=TRAINING | changed)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def half_way(stack: Stack, job_id: str) -> Job:
    """Waits until a job has stored some checkpoints and returns it."""
    wait_until(lambda: ((stack.job(job_id)["checkpoint"] or {}).get("step", 0)) >= 60, 60, "a checkpoint")
    job = stack.job(job_id)
    assert job["status"] == "running" and job["checkpoint"]["step"] < 400
    return job


def model_of(stack: Stack, job: Job) -> Job:
    """Returns the model of a finished training."""
    assert job["status"] == "succeeded", job["error"]
    answer = stack.client.get(f"/v1/models/{job['metrics']['model']}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture(scope="module")
def whole(stack: Stack) -> Job:
    """Runs a training without interruption."""
    return stack.finished(start(stack), 90)


def test_a_training_ends_in_a_model_that_is_listed(stack: Stack, whole: Job) -> None:
    model = model_of(stack, whole)
    assert (model["id"], model["trained_by"]) == (f"vae-{whole['id'][-12:]}", whole["id"])
    assert model["installed_on"] == ["trainer@test"]
    assert model in stack.client.get("/v1/models").json()["models"]
    assert [output["role"] for output in whole["outputs"]] == ["grid", "plot"]
    assert whole["checkpoint"] is None


def test_a_killed_worker_costs_no_more_than_the_steps_since_its_checkpoint(stack: Stack, whole: Job) -> None:
    job_id = start(stack)
    before = half_way(stack, job_id)["checkpoint"]["step"]
    stack.kill("trainer")
    killed_at = time.monotonic()
    stack.start_worker("trainer", "train", app="worker.app")
    wait_until(lambda: stack.job(job_id)["attempt"] == 2 and stack.job(job_id)["progress"], 180, "the second attempt")
    job = stack.finished(job_id, 60)
    first = next(step for step in steps_since_claim(stack, job_id) if step)
    print(f"killed after checkpoint {before}, went on at step {first}, done {time.monotonic() - killed_at:.0f} s later")
    assert first >= before, "a resumed training reports the step of its checkpoint"
    assert model_of(stack, job)["files"] == model_of(stack, whole)["files"], "the very same bytes"
    assert model_of(stack, job)["id"] != model_of(stack, whole)["id"]


def steps_since_claim(stack: Stack, job_id: str) -> list[int]:
    """Returns the steps reported since the last claim of the job."""
    events = stack.redis.xrange(f"atelier:events:{job_id}")
    taken = [n for n, (_, fields) in enumerate(events) if '"running"' in fields["data"]]  # type: ignore[arg-type]
    reported = [fields["data"] for _, fields in events[taken[-1] :] if fields["type"] == "progress"]  # type: ignore[index]
    return [int(data.split('"step": ')[1].split(",")[0]) for data in reported]


def test_a_canceled_training_is_gone_within_two_steps_and_a_retry_goes_on(stack: Stack, whole: Job) -> None:
    job_id = start(stack)
    half_way(stack, job_id)
    assert stack.client.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "canceling"
    canceled = stack.finished(job_id, 5)
    assert (canceled["status"], canceled["outputs"]) == ("canceled", [])
    checkpoint = canceled["checkpoint"]
    stored = stack.client.get(checkpoint["url"])
    assert (stored.status_code, len(stored.content)) == (200, checkpoint["size_bytes"])

    again = stack.client.post(f"/v1/jobs/{job_id}/retry").json()
    assert again["checkpoint"]["step"] == checkpoint["step"]
    job = stack.finished(again["id"], 60)
    assert next(step for step in steps_since_claim(stack, job["id"]) if step) >= checkpoint["step"]
    assert model_of(stack, job)["files"] == model_of(stack, whole)["files"]


def test_a_model_in_use_is_not_deleted(stack: Stack, whole: Job) -> None:
    model_id = model_of(stack, whole)["id"]
    using = stack.jobs.create(NewJob(kind="probe", queue="gpu", params={}, models=[model_id]))[
        0
    ]  # nobody serves this queue
    refused = stack.client.delete(f"/v1/models/{model_id}")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["details"]["jobs"]) == (409, "model_in_use", [using])
    stack.jobs.cancel(using)
    copies = stack.settings.weights_dir / "trained"
    for name in (model_id, "vae-of-others"):
        (copies / name).mkdir(parents=True)
        (copies / name / "model.safetensors").touch()
    assert stack.client.delete(f"/v1/models/{model_id}").status_code == 204
    assert stack.client.delete(f"/v1/models/{model_id}").status_code == 404
    assert stack.client.get(f"/v1/models/{model_id}").status_code == 404
    wait_until(lambda: not (copies / model_id).exists(), 15, "the worker to remove its copy")
    assert (copies / "vae-of-others").exists(), "only what was deleted here is removed"


def test_data_sets_are_drawn_in_a_worker_too(stack: Stack) -> None:
    body = {"recipe": "vae", "data": "smileys", "limit": 32, "batch_size": 8, "num_steps": 2}
    assert stack.finished(start(stack, **body), 60)["status"] == "succeeded"


def test_a_training_may_run_longer_than_other_jobs(stack: Stack) -> None:
    """Its message has its own time limit; Celery ends the process of a job that reports no steps."""
    settings = stack.settings
    assert settings.timeout_s("train") == 86400 > settings.timeout_s("gpu")
    from jobs.queue import make_celery

    assert make_celery(settings).conf.atelier_time_limits["train"] == 86460
