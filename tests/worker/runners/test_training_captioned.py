"""Trainings on a captioned archive: the parts of a text-to-image model, the model of them, and a LoRA of that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.objects import Objects
from jobs.requests.kinds import parse
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from models.build import load_model
from models.diffusion.embedding import Kandinsky
from tests.models.training import conftest as training
from tests.worker.runners.conftest import trained_models
from tests.worker.runners.trainings import archive, failure, png_files, train, weights
from tests.worker.tasks import run_job
from worker.files import find_model

pytestmark = pytest.mark.usefixtures("few_steps")
few_steps = training.few_steps  # a fixture
BRIEF: dict[str, Any] = {"image_size": 32, "num_steps": 2, "batch_size": 2}
CLIP: dict[str, Any] = {"base_channels": 8, "hidden_size": 32, "text_layers": 1, "projection_dim": 8, "alike": 2}
TINY = {"block_out_channels": [32, 32]}


@pytest.fixture
def jobs(jobs: JobStore, tmp_path: Path) -> Iterator[JobStore]:
    """A job store whose trained models this process loads."""
    with trained_models(tmp_path / "weights"):
        yield JobStore(jobs.client, jobs.settings.model_copy(update={"weights_dir": tmp_path / "weights"}))


def captioned(jobs: JobStore, objects: Objects, worn: str = "hat") -> str:
    """Stores an archive with a text file beside each image, as kohya's scripts want it."""
    images = png_files(16)
    texts = {name.replace("png", "txt"): f"noise of number {name[:-4]}, a {worn}".encode() for name in images}
    return archive(jobs, objects, images | texts)


def made_with(jobs: JobStore, objects: Objects, model: str, *loras: dict[str, Any]) -> Record:
    """A text-to-image job of a trained model."""
    asked = {"mode": "text-to-image", "model": model, "prompt": "a hat, a beret", "num_inference_steps": 2, "seed": 1}
    request: Any = parse("generation", asked | {"loras": list(loras)})
    card = find_model(jobs, objects, model)
    jobs.create(NewJob(kind="generation", queue="gpu", params=request.fitted(card.architecture).stored()))
    [record] = jobs.claim("gpu", worker="test")
    run_job(jobs, objects, record)
    return jobs.get(record.id)


def test_parts_a_model_and_a_lora_are_trained_and_used(jobs: JobStore, objects: Objects) -> None:
    data = {"data": captioned(jobs, objects), **BRIEF}

    def trained(**params: Any) -> str:
        record = train(jobs, objects, **data | params)
        assert record.status == "succeeded", record.error
        assert (record.progress or {})["estimated_end_at"] and (record.progress or {})["preview"]
        return str(record.metrics["model"])

    clip, kl, movq = (
        trained(recipe="clip", **CLIP),
        trained(recipe="autoencoder", architecture="autoencoder-kl", **TINY),
        trained(recipe="autoencoder", num_vq_embeddings=16, **TINY),
    )
    more = trained(recipe="autoencoder", start=kl, architecture="autoencoder-kl", learned="decoder", **TINY)
    decoder = trained(recipe="kandinsky", clip=clip, autoencoder=movq, num_inference_steps=2, **TINY)
    assert isinstance(load_model(find_model(jobs, objects, decoder), jobs.settings.weights_dir), Kandinsky)
    trained(recipe="clip", start=decoder, **CLIP)
    model = trained(recipe="stable-diffusion", clip=decoder, autoencoder=more, **TINY)
    then = trained(recipe="stable-diffusion", start=model, autoencoder=kl, **TINY)
    card = find_model(jobs, objects, then)
    assert (card.training["start"], card.training["autoencoder"]) == (model, kl)

    asked = {"recipe": "lora", "model": model, "learning_rate": 0.1, "prompts": ["a hat"], "train_text_encoder": True}
    record = train(jobs, objects, **data | asked | {"data": captioned(jobs, objects, "beret")})
    lora = record.metrics["model"]
    assert weights(jobs, record) and jobs.models.get(lora).card["task"] == "lora"
    assert find_model(jobs, objects, lora).architecture["base"] == model
    plain, changed = made_with(jobs, objects, model), made_with(jobs, objects, model, {"model": lora})
    assert plain.status == changed.status == "succeeded", (plain.error, changed.error)
    assert plain.outputs[0]["sha256"] != changed.outputs[0]["sha256"]
    assert [each["code"] for each in plain.metrics["warnings"]] == ["unknown_words"]
    assert changed.metrics["warnings"] == [], "the LoRA was trained on the word"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"recipe": "clip", **CLIP}, "a CLIP needs captions"),
        ({"recipe": "lora", "model": "vae-smileys"}, "start: vae-smileys is no text-to-image model with a UNet"),
        ({"recipe": "kandinsky", "clip": "vae-smileys", "autoencoder": "vae-smileys"}, "needs captions"),
    ],
)
def test_what_cannot_be_trained_is_said(jobs: JobStore, objects: Objects, params: dict[str, Any], says: str) -> None:
    data = captioned(jobs, objects) if params["recipe"] == "lora" else archive(jobs, objects, png_files(16))
    error = failure(train(jobs, objects, data=data, **BRIEF, **params))
    assert error["code"] == "bad_data" and says in error["message"]
