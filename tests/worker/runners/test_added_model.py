"""Models of one's own, added by the real runner in this process, from a server that is reached through the guard."""

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file, save, save_file

from jobs.objects import Objects
from jobs.requests.added_model import AddedModel
from jobs.settings import get_settings
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob, Record
from models import catalogue, local
from models.build import load_model
from models.catalogue import checked_file, folder_of
from models.diffusion.image_prompt import ImagePrompt
from models.diffusion.text_to_image import TextToImageModel, load_text_to_image
from models.tensors import expect_class
from models.upscale.real_esrgan import RRDBNet, Upscaler
from models.upscale.tiles import upscale
from tests.file_server import Files, serving
from tests.models.diffusion.additions import save_controlnet, save_image_prompt
from tests.models.diffusion.single_file import write_checkpoint
from tests.models.diffusion.test_text_to_image_full_size import save as save_tiny
from tests.models.upscale.published import published
from tests.worker.runners.conftest import trained_models
from tests.worker.tasks import run_job
from worker.files import find_model
from worker.runners import added_model

VAE_WEIGHTS, WEIGHTS = "diffusion_pytorch_model.safetensors", ".safetensors"
COMMIT = "0123456789" * 4
INK = save({"unet.mid_block.attentions.0.to_q.lora_A.weight": torch.ones(40_000, 20)})
TWO = {name: torch.ones(2, 3) for name in "ab"}
LORA = {"id": "ink", "title": "Ink", "license": "MIT", "task": "lora", "base": "stable-diffusion-avatars"}


@pytest.fixture
def jobs(jobs: JobStore, tmp_path: Path) -> Iterator[JobStore]:
    with trained_models(tmp_path / "weights"):
        yield JobStore(jobs.client, jobs.settings.model_copy(update={"weights_dir": get_settings().weights_dir}))


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    with serving({"ink.safetensors": INK, "cut.safetensors": INK[:-9]}) as served:
        monkeypatch.setattr(added_model, "NETWORK", served.network())
        yield served


def add(jobs: JobStore, objects: Objects, **card: Any) -> Record:
    params = AddedModel(**card, seed=0)
    jobs.create(NewJob("model", params.queue, params.stored(), archives=params.uses().archives))
    [record] = jobs.claim("collect", worker="test")
    run_job(jobs, objects, record)
    return jobs.get(record.id)


def failure(record: Record) -> tuple[str, str]:
    assert record.status == "failed" and record.error
    return record.error["code"], record.error["message"]


def test_a_file_is_fetched_checked_and_registered_for_all(jobs: JobStore, objects: Objects, files: Files) -> None:
    sha = hashlib.sha256(INK).hexdigest()
    files.cut.add("ink.safetensors")
    record = add(jobs, objects, **LORA, url=files.url("ink.safetensors"), sha256=sha)
    assert (record.status, record.error, record.outputs) == ("succeeded", None, [])
    assert record.metrics["model"] == "ink" and record.metrics["size_bytes"] == len(INK)
    assert files.asked == ["ink.safetensors from 0", f"ink.safetensors from {len(INK) // 2}"], "it goes on by itself"
    assert record.progress and record.progress["step"] == record.progress["total"] == len(INK)
    [model] = jobs.of("another").models.all()
    assert model.is_added and model.is_shared and model.trained_by is None
    assert model.card["source"] == {"kind": "added", "url": files.url("ink.safetensors")}
    assert model.card["files"] == {"ink.safetensors": sha}
    card = find_model(jobs, objects, "ink")
    assert checked_file(card, "ink.safetensors", jobs.settings.weights_dir).read_bytes() == INK
    assert not list((jobs.settings.weights_dir / added_model.COMING).iterdir())
    assert failure(add(jobs, objects, **LORA, url=files.url("ink.safetensors")))[0] == "model_exists"


def test_a_removed_model_is_gone_everywhere_and_can_be_added_again(
    jobs: JobStore, objects: Objects, files: Files
) -> None:
    add(jobs, objects, **LORA, url=files.url("ink.safetensors"))
    job_id, _ = jobs.create(NewJob("generation", "gpu", {}, loads=["stable-diffusion-avatars", "ink"]))
    since, _ = jobs.models.unloaded(None)
    with pytest.raises(Exception, match=f"in use; .*{job_id}"):
        jobs.models.remove("ink")
    jobs.cancel(job_id)
    jobs.of("another").models.remove("ink")
    assert jobs.models.all() == [] and jobs.models.unloaded(since)[1] == ["ink"]
    assert jobs.models.deleted(["ink"]) == ["ink"]
    add(jobs, objects, **LORA, url=files.url("ink.safetensors"))
    assert jobs.models.deleted(["ink"]) == [] and find_model(jobs, objects, "ink").title == "Ink"


def test_a_repository_becomes_a_model(jobs: JobStore, objects: Objects, files: Files, tmp_path: Path) -> None:
    save_tiny(tmp_path / "tiny", False)
    paths = [path for path in (tmp_path / "tiny").rglob("*") if path.is_file()]
    names = [str(path.relative_to(tmp_path / "tiny")) for path in paths]
    names = [name for name in names if name.endswith((".json", ".safetensors", ".txt"))]
    at = f"me/tiny/resolve/{COMMIT}"
    files.served |= {f"{at}/{name}": (tmp_path / "tiny" / name).read_bytes() for name in names}
    files.linked |= {f"{at}/{name}" for name in names if name.endswith(".safetensors")}
    card: dict[str, Any] = {"id": "tiny", "title": "Tiny", "license": "MIT", "task": "text-to-image"}
    card |= {"repository": "me/tiny", "revision": COMMIT, "image_size": 64, "files": names}
    record = add(jobs, objects, **card)
    assert record.error is None
    found = find_model(jobs, objects, "tiny")
    assert isinstance(load_model(found, jobs.settings.weights_dir), TextToImageModel)
    assert found.architecture["num_inference_steps"] == 25 and "schedulers" not in found.architecture
    folder = folder_of(found, jobs.settings.weights_dir)
    assert json.loads((folder / "unet/config.json").read_text())["sample_size"] == 16
    assert add(jobs, objects, **card | {"id": "gone", "files": ["a.json"]}).error == {
        **{"code": "url_not_fetched", "message": "The URL returned status 404.", "details": {"status": 404}}
    }


def test_an_upload_becomes_a_model(jobs: JobStore, objects: Objects, files: Files) -> None:
    sha = objects.put_file(BytesIO(INK), "application/octet-stream")
    jobs.archives.put(sha, {"weights": True})
    record = add(jobs, objects, **LORA, archive=f"zip_{sha}")
    assert record.error is None and jobs.models.get("ink").card["files"] == {"ink.safetensors": sha}


def test_a_checkpoint_is_added_with_another_autoencoder(
    jobs: JobStore, objects: Objects, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save_tiny(tmp_path / "tiny", False)
    pipeline = load_text_to_image(tmp_path / "tiny").pipeline
    write_checkpoint(pipeline, tmp_path / "own.safetensors", "stable-diffusion-1.5")
    state = {key: value + 1 for key, value in load_file(tmp_path / "tiny/vae" / VAE_WEIGHTS).items()}
    save_file(state, tmp_path / "vae.safetensors")
    paths = [path for path in (tmp_path / "tiny").rglob("*") if path.is_file() and path.suffix != WEIGHTS]
    texts = {str(path.relative_to(tmp_path / "tiny")): path.read_text() for path in paths}
    monkeypatch.setattr(catalogue, "configuration", lambda base: dict.fromkeys(texts))
    monkeypatch.setattr(local, "configuration_files", lambda base, kind: texts)
    uploads = []
    for name in ("own.safetensors", "vae.safetensors", "ink.safetensors"):
        data = (tmp_path / name).read_bytes() if name != "ink.safetensors" else INK
        sha = objects.put_file(BytesIO(data), "application/octet-stream")
        jobs.archives.put(sha, {"weights": True})
        uploads.append(f"zip_{sha}")
    card: dict[str, Any] = {"title": "Own", "license": "MIT", "task": "text-to-image", "image_size": 64}
    card |= {"base": "stable-diffusion-1.5", "archive": uploads[0]}
    record = add(jobs, objects, **card, id="own", vae=uploads[1])
    assert record.error is None
    loaded = load_model(find_model(jobs, objects, "own"), jobs.settings.weights_dir)
    assert isinstance(loaded, TextToImageModel)
    assert torch.equal(loaded.pipeline.vae.state_dict()["quant_conv.bias"], state["quant_conv.bias"])
    code, message = failure(add(jobs, objects, **card, id="other", vae=uploads[2]))
    assert code == "weights_unavailable" and "vae.safetensors lacks" in message


def test_a_controlnet_and_an_ip_adapter_become_models(
    jobs: JobStore, objects: Objects, files: Files, tmp_path: Path
) -> None:
    save_tiny(tmp_path / "tiny", False)
    pipeline = load_text_to_image(tmp_path / "tiny").pipeline
    save_controlnet(pipeline, tmp_path / "edges")
    save_image_prompt(pipeline, tmp_path / "adapter", plus=True)
    for name in ("edges", "adapter"):
        found = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        at = f"me/{name}/resolve/{COMMIT}"
        files.served |= {f"{at}/{path.relative_to(tmp_path / name)}": path.read_bytes() for path in found}
    shared: dict[str, Any] = {"title": "Edges", "license": "MIT", "base": "stable-diffusion-1.5", "revision": COMMIT}
    for name, task, kind in (("edges", "controlnet", ControlNetModel), ("adapter", "ip-adapter", ImagePrompt)):
        record = add(jobs, objects, **shared, id=name, task=task, repository=f"me/{name}")
        assert record.error is None
        assert isinstance(load_model(find_model(jobs, objects, name), jobs.settings.weights_dir), kind)
    card = {**LORA, "id": "one", "task": "controlnet", "base": "stable-diffusion-1.5"}
    code, message = failure(add(jobs, objects, **card, url=files.url("ink.safetensors")))
    assert code == "weights_unavailable" and "lacks" in message and "of the controlnet" in message


def test_a_textual_inversion_becomes_a_model(jobs: JobStore, objects: Objects, files: Files) -> None:
    files.served |= {"cat.safetensors": save({"emb_params": torch.ones(2, 768)}), "two.safetensors": save(TWO)}
    cat = {**LORA, "id": "cat", "task": "textual-inversion"}
    record = add(jobs, objects, **cat, url=files.url("cat.safetensors"))
    expected = {"name": "textual-inversion", "base": "stable-diffusion-avatars", "token": "cat"}
    assert record.error is None and find_model(jobs, objects, "cat").architecture == expected
    code, message = failure(add(jobs, objects, **cat | {"id": "two"}, url=files.url("two.safetensors")))
    assert (code, message) == (
        "weights_unavailable",
        "Model two cannot be loaded: two.safetensors holds no textual inversion: it has a, b tensors.",
    )


def test_an_upscaler_becomes_a_model(jobs: JobStore, objects: Objects, files: Files) -> None:
    network = RRDBNet(8, 2, 4).eval()
    files.served["sharp.safetensors"] = save(published(network, "model"))
    sharp = {"id": "sharp", "title": "4x Sharp", "license": "MIT", "task": "upscaling"}
    record = add(jobs, objects, **sharp, url=files.url("sharp.safetensors"))
    assert record.error is None and record.metrics["model"] == "sharp"
    loaded = load_model(find_model(jobs, objects, "sharp"), jobs.settings.weights_dir)
    images = np.random.default_rng(0).integers(0, 256, (1, 9, 7, 3), np.uint8)
    np.testing.assert_array_equal(upscale(expect_class(loaded, Upscaler), images), upscale(network, images))
    other = {**sharp, "id": "other", "url": files.url("ink.safetensors")}
    code, message = failure(add(jobs, objects, **other))
    assert code == "weights_unavailable" and message.startswith("Model other cannot be loaded: its tensors are not")


def test_files_that_cannot_be_used_end_the_job_and_leave_no_model(
    jobs: JobStore, objects: Objects, files: Files, tmp_path: Path
) -> None:
    save_file({"a": torch.tensor([float("nan")])}, tmp_path / "nan.safetensors")
    files.served["nan.safetensors"] = (tmp_path / "nan.safetensors").read_bytes()
    checkpoint: dict[str, Any] = {
        "id": "own",
        "title": "Own",
        "license": "MIT",
        "task": "text-to-image",
        "image_size": 512,
    }
    checkpoint |= {"base": "stable-diffusion-1.5"}
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({**LORA, "url": files.url("cut.safetensors")}, "weights_unavailable", "Model ink cannot be loaded: ink.saf"),
        ({**LORA, "url": files.url("nan.safetensors")}, "weights_unavailable", "a holds NaN or infinity"),
        ({**LORA, "url": files.url("ink.safetensors"), "sha256": "0" * 64}, "file_mismatch", "not 0000"),
        ({**LORA, "url": files.url("gone.safetensors")}, "url_not_fetched", "status 404"),
        ({**checkpoint, "url": files.url("ink.safetensors")}, "weights_unavailable", "holds no unet"),
    ]
    for card, code, message in refused:
        found = failure(add(jobs, objects, **card))
        assert found[0] == code and message in found[1]
    assert jobs.models.all() == []
    files.served["cut.safetensors"] = INK
    assert add(jobs, objects, **LORA, url=files.url("cut.safetensors")).error is None


def test_a_full_disk_is_named(jobs: JobStore, objects: Objects, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    code, message = failure(add(jobs, objects, **LORA, url=files.url("ink.safetensors")))
    assert code == "disk_full" and "its disk has 10 free" in message
