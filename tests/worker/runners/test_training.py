"""Trainings by the real runner, in this process, on a real Valkey; tests/integration kills and cancels real workers."""

import json
import math
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter
from torch.optim import Optimizer

from jobs.errors import AtelierError, Conflict
from jobs.images import read_recipe
from jobs.objects import Objects
from jobs.requests.training import Training
from jobs.settings import get_settings
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from models.build import load_model
from models.catalogue import folder_of
from models.generative.vae import Vae
from models.training.run import Run
from tests.worker.tasks import run_job
from worker.files import find_model
from worker.lease import Lease, StoppingError

PARAMS: TypeAdapter[Training] = TypeAdapter(Training)
VAE: dict[str, Any] = {
    "recipe": "vae",
    "data": "digits",
    "limit": 64,
    "batch_size": 16,
    "num_steps": 40,
    "checkpoint_every": 10,
}
Act = Callable[[JobStore, str], None]


@pytest.fixture
def jobs(jobs: JobStore, tmp_path: Path) -> JobStore:
    """A job store without trained models."""
    return JobStore(jobs.client, jobs.settings.model_copy(update={"weights_dir": tmp_path / "weights"}))


def queue(jobs: JobStore, retry_of: str = "", **params: Any) -> str:
    """Stores a training as the API does; returns its id."""
    parsed = PARAMS.validate_python({"seed": 3, **params})
    stored = parsed.model_dump(mode="json", exclude={"priority", "expires_in", "webhook_url"})
    archives = [parsed.archive] if parsed.archive else []
    return jobs.create(NewJob(kind="training", queue="train", params=stored, archives=archives, retry_of=retry_of))[0]


def work(jobs: JobStore, objects: Objects) -> Record:
    """Claims a training and runs it to a terminal state."""
    [record] = jobs.claim("train", worker="test")
    run_job(jobs, objects, record)
    return jobs.get(record.id)


def train(jobs: JobStore, objects: Objects, **params: Any) -> Record:
    queue(jobs, **params)
    return work(jobs, objects)


def weights(jobs: JobStore, record: Record) -> str:
    """The sha256 of the weights of a training."""
    assert record.status == "succeeded", record.error
    return str(jobs.models.get(record.metrics["model"]).card["files"]["model.safetensors"])


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


def failure(record: Record) -> dict[str, Any]:
    assert record.status == "failed" and record.error is not None
    json.dumps(record.error, allow_nan=False)
    return record.error


def archive(jobs: JobStore, objects: Objects, files: dict[str, bytes]) -> str:
    """Stores a zip file; returns its id."""
    data = BytesIO()
    with zipfile.ZipFile(data, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    sha = objects.put_file(BytesIO(data.getvalue()), "application/zip")
    jobs.archives.put(sha, {"n_files": len(files)})
    return f"zip_{sha}"


def png_files(n: int) -> dict[str, bytes]:
    """`n` small PNG files of noise, by name."""
    found = {}
    for index in range(n):
        file = BytesIO()
        noise = np.random.default_rng(index).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "PNG")
        found[f"{index}.png"] = file.getvalue()
    return found


def captioned(n: int) -> dict[str, bytes]:
    """`n` PNG files with captions in a table as Hugging Face has it."""
    rows = [json.dumps({"file_name": f"{index}.png", "text": f"noise of number {index}"}) for index in range(n)]
    return png_files(n) | {"metadata.jsonl": "\n".join(rows).encode()}


def test_any_worker_can_load_a_trained_model(jobs: JobStore, objects: Objects) -> None:
    record = train(jobs, objects, **VAE, title="My digits", latent_dim=3, sample_every=20)
    model_id = f"vae-{record.id[-12:]}"
    assert record.status == "succeeded", record.error
    assert [output["role"] for output in record.outputs] == ["grid", "plot"]
    assert record.metrics["model"] == model_id and record.metrics["steps"] == 40
    assert set(record.metrics["losses"]) == {"reconstruction_loss", "kl_divergence"}
    assert record.checkpoint is None
    progress = record.progress or {}
    assert progress["message"].startswith("reconstruction loss ")
    assert progress["preview"]
    recipe = read_recipe(objects.get(record.outputs[0]["sha256"])) or {}
    assert recipe["models"] == {model_id: weights(jobs, record)[:16]}

    card = find_model(jobs, objects, model_id)
    module = load_model(card, jobs.settings.weights_dir)
    assert isinstance(module, Vae) and module.latent_dim == 3
    assert (card.title, card.source["data"], card.training["seed"]) == ("My digits", "digits", 3)


def test_files_of_a_model_are_fetched_once_and_again_when_they_change(jobs: JobStore, objects: Objects) -> None:
    record = train(jobs, objects, **VAE)
    sha = weights(jobs, record)
    card = find_model(jobs, objects, record.metrics["model"])
    path = folder_of(card, jobs.settings.weights_dir) / "model.safetensors"
    before = path.stat()
    find_model(jobs, objects, card.id)
    assert path.stat().st_ino == before.st_ino
    path.write_bytes(b"tampered")
    find_model(jobs, objects, card.id)
    load_model(card, jobs.settings.weights_dir)
    assert [file.name for file in path.parent.iterdir()] == [path.name]

    path.unlink()
    stored = Path(jobs.settings.storage_url) / sha
    stored.write_bytes(b"damaged")
    with pytest.raises(AtelierError, match="stored bytes are damaged") as error:
        find_model(jobs, objects, card.id)
    assert error.value.code == "object_damaged"
    assert not path.exists()


def test_unknown_model_is_not_found(jobs: JobStore, objects: Objects) -> None:
    with pytest.raises(AtelierError, match="No model is called 'vae-0123456789ab'") as error:
        find_model(jobs, objects, "vae-0123456789ab")
    assert error.value.code == "model_not_found"
    assert find_model(jobs, objects, "vgg16").id == "vgg16"


def test_two_trainings_of_one_recipe_are_two_models(jobs: JobStore, objects: Objects) -> None:
    first, second = (train(jobs, objects, **VAE) for _ in range(2))
    assert first.metrics["model"] != second.metrics["model"]
    assert weights(jobs, first) == weights(jobs, second), "the same request and seed give the same bytes"
    jobs.models.delete(first.metrics["model"])
    jobs.client.zrem(f"atelier:refs:{weights(jobs, second)}", "hold")
    assert weights(jobs, second) not in jobs.references.condemn()
    assert find_model(jobs, objects, second.metrics["model"])


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
    assert ended.id == job_id and next(step for step in reported[1:] if step) == 28
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
    assert next(step for step in reported[1:] if step) == 28
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


def test_a_training_continues_a_shipped_model_with_the_same_questions_only(jobs: JobStore, objects: Objects) -> None:
    begun = {"recipe": "classifier", "data": "digits", "start": "classifier-digits", "base_channels": 32}
    record = train(jobs, objects, **begun, limit=64, batch_size=16, num_steps=2, learning_rate=1e-6)
    assert record.status == "succeeded" and record.metrics["losses"]["error_rate"] < 0.2, record.error
    zip_id = archive(jobs, objects, {f"{kind}/{name}": data for kind in "ab" for name, data in png_files(12).items()})
    other = {"recipe": "classifier", "data": zip_id, "start": "classifier-smileys", "image_size": 64, "batch_size": 8}
    error = failure(train(jobs, objects, **other, num_steps=2))
    assert error["code"] == "bad_data" and "start: classifier-smileys has questions" in error["message"]


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


def test_a_training_on_the_images_of_an_archive(jobs: JobStore, objects: Objects) -> None:
    zip_id = archive(jobs, objects, png_files(20))
    brief = {"recipe": "vae", "data": zip_id, "image_size": 16, "batch_size": 8, "num_steps": 3, "limit": 18}
    record = train(jobs, objects, **brief)
    card = jobs.models.get(record.metrics["model"]).card
    assert card["architecture"]["name"] == "conv-vae"
    assert (card["training"]["images"], card["source"]["data"]) == (18, zip_id)


@pytest.mark.parametrize(
    ("files", "params", "why"),
    [
        (png_files(5), {}, "holds 5 images; at least 16 are needed"),
        (png_files(20), {"batch_size": 32}, "holds 20 images; at least 32 are needed"),
        (
            png_files(20) | dict.fromkeys(("3.png", "4.png", "5.png"), b"none"),
            {},
            "3 of 20 images cannot be used: '3.png'",
        ),
        (png_files(20), {"recipe": "classifier"}, "needs labels or attributes"),
        (captioned(20), {"recipe": "classifier"}, "captions such as 'noise of number 0' are no labels"),
        (captioned(20), {"recipe": "cyclegan"}, "two classes or an `attribute` are needed; there are"),
        (png_files(20), {"recipe": "cyclegan", "attribute": "wings"}, "there is no attribute 'wings'"),
    ],
)
def test_unusable_images_are_named(
    jobs: JobStore, objects: Objects, files: dict[str, bytes], params: dict[str, Any], why: str
) -> None:
    zip_id = archive(jobs, objects, files)
    record = train(jobs, objects, **{"recipe": "vae", "data": zip_id, "image_size": 16, "batch_size": 8, **params})
    error = failure(record)
    assert error["code"] == "bad_data"
    assert why in error["message"]


def test_a_bad_entry_is_skipped_and_named_in_the_metrics(jobs: JobStore, objects: Objects) -> None:
    bad = {"3.png": b"no image", "film.mp4": b"\0\0\0\x18ftypmp42"}
    zip_id = archive(jobs, objects, captioned(20) | bad)
    record = train(jobs, objects, recipe="vae", data=zip_id, image_size=16, batch_size=8, num_steps=2)
    assert record.status == "succeeded", record.error
    skipped, warnings = record.metrics["skipped"], record.metrics["warnings"]
    assert skipped["count"] == 2 and [each["name"] for each in skipped["entries"]] == ["3.png", "film.mp4"]
    assert all(each["reason"] for each in skipped["entries"])
    assert [each["code"] for each in warnings] == ["entries_skipped", "captions_not_used"]
    assert "2 entries of the archive are skipped: '3.png': " in warnings[0]["message"]
    assert jobs.models.get(record.metrics["model"]).card["training"]["images"] == 19


def test_a_zip_of_two_folders_trains_a_cyclegan(jobs: JobStore, objects: Objects) -> None:
    files = {f"{'day' if int(name[:-4]) % 2 else 'night'}/{name}": data for name, data in png_files(20).items()}
    asked = {"recipe": "cyclegan", "data": archive(jobs, objects, files), "image_size": 16}
    record = train(jobs, objects, **asked, batch_size=8, num_steps=2, base_channels=8, n_blocks=1)
    assert record.status == "succeeded", record.error
    assert jobs.models.get(record.metrics["model"]).card["architecture"]["kinds"] == ["day", "night"]
    assert (record.metrics["skipped"], record.metrics["warnings"]) == ({"count": 0, "entries": []}, [])


@pytest.mark.parametrize(
    "params",
    [
        {"recipe": "gan", "data": "digits"},
        {"recipe": "dcgan", "data": "smileys", "base_channels": 8, "encoder_channels": 8, "latent_dim": 4},
        {"recipe": "cyclegan", "data": "avatars", "attribute": "woman", "base_channels": 8, "n_blocks": 1},
        {"recipe": "ddpm", "data": "avatars", "block_out_channels": [32, 40], "attributes": ["hat", "glasses"]},
        {"recipe": "classifier", "data": "smileys", "base_channels": 8},
    ],
    ids=lambda params: params["recipe"],
)
def test_every_recipe_can_be_requested(jobs: JobStore, objects: Objects, params: dict[str, Any]) -> None:
    record = train(jobs, objects, **params, limit=32, batch_size=8, num_steps=4)
    load_model(find_model(jobs, objects, record.metrics["model"]), jobs.settings.weights_dir)
    assert weights(jobs, record)
