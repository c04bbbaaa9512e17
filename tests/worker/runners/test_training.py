"""Trainings by the real runner, in this process, on a real Valkey; tests/integration kills and cancels real workers."""

from pathlib import Path
from typing import Any

import pytest

from jobs.errors import AtelierError
from jobs.images import read_recipe
from jobs.objects import Objects
from jobs.store.jobs import JobStore
from models.build import load_model
from models.catalogue import folder_of
from models.generative.vae import Vae
from tests.models.training import conftest as training
from tests.worker.runners import trainings
from tests.worker.runners.trainings import VAE, archive, failure, png_files, train, weights
from worker.files import find_model
from worker.runners.training import CURVE_POINTS, curve_points

pytestmark = pytest.mark.usefixtures("few_steps")
few_steps = training.few_steps  # a fixture
jobs = trainings.jobs  # another


def test_any_worker_can_load_a_trained_model(jobs: JobStore, objects: Objects) -> None:
    record = train(jobs, objects, **VAE, title="My digits", latent_dim=3, sample_every=20)
    model_id = f"vae-{record.id[-12:]}"
    assert record.status == "succeeded", record.error
    assert [output["role"] for output in record.outputs] == ["grid", "plot"]
    assert record.metrics["model"] == model_id and record.metrics["steps"] == 40
    assert set(record.metrics["losses"]) == {"reconstruction_loss", "kl_divergence"}
    assert record.checkpoint is None
    assert [point["step"] for point in record.losses] == list(range(1, 41))
    assert record.losses[0]["losses"].keys() == record.metrics["losses"].keys()
    progress = record.progress or {}
    assert progress["message"].startswith("reconstruction loss ")
    assert progress["preview"]
    recipe = read_recipe(objects.get(record.outputs[0]["sha256"])) or {}
    assert recipe["models"] == {model_id: weights(jobs, record)[:16]}

    card = find_model(jobs, objects, model_id)
    module = load_model(card, jobs.settings.weights_dir)
    assert isinstance(module, Vae) and module.latent_dim == 3
    assert (card.title, card.source["data"], card.training["seed"]) == ("My digits", "digits", 3)


def test_the_curve_has_the_mean_of_each_span_of_steps() -> None:
    curve = {"loss": [float(i) for i in range(2 * CURVE_POINTS + 1)]}
    points = curve_points(curve)
    assert points[0] == {"step": 3, "losses": {"loss": 1.0}} and points[-1]["step"] == 2 * CURVE_POINTS + 1
    assert len(points) <= CURVE_POINTS and curve_points({}) == []


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


def test_a_training_continues_a_shipped_model_with_the_same_questions_only(jobs: JobStore, objects: Objects) -> None:
    begun = {"recipe": "classifier", "data": "digits", "start": "classifier-digits", "base_channels": 32}
    record = train(jobs, objects, **begun, limit=64, batch_size=16, num_steps=2, learning_rate=1e-6)
    assert record.status == "succeeded" and record.metrics["losses"]["error_rate"] < 0.2, record.error
    zip_id = archive(jobs, objects, {f"{kind}/{name}": data for kind in "ab" for name, data in png_files(12).items()})
    other = {"recipe": "classifier", "data": zip_id, "start": "classifier-smileys", "image_size": 64, "batch_size": 8}
    error = failure(train(jobs, objects, **other, num_steps=2))
    assert error["code"] == "bad_data" and "start: classifier-smileys has questions" in error["message"]


def test_a_gray_model_continues_on_a_set_in_color(jobs: JobStore, objects: Objects) -> None:
    begun = {"recipe": "classifier", "data": "flowers", "start": "classifier-flowers", "base_channels": 16}
    record = train(jobs, objects, **begun, limit=32, batch_size=16, num_steps=2, learning_rate=1e-6)
    assert record.status == "succeeded" and record.metrics["losses"]["error_rate"] < 0.2, record.error


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
