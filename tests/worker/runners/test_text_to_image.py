"""Batches of jobs, with a tiny untrained model of the real architecture."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from jobs.errors import AtelierError, NotFound
from jobs.objects import Objects
from jobs.requests.base import MAX_SEED
from jobs.requests.kinds import parse
from jobs.settings import get_settings
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob
from models.build import WEIGHTS, build
from models.catalogue import WEIGHTS_DIR, Card, file_sha256, folder_of
from models.errors import NotFiniteError
from models.tensors import save_weights
from tests.worker.tasks import run_alone
from worker import runners
from worker.failures import failures
from worker.lease import CanceledError, LeaseLostError, StoppingError
from worker.run import JobResult, Pixels, Task, run_jobs
from worker.runners import loaded, network, text_to_image

ARCHITECTURE: dict[str, Any] = {
    "name": "stable-diffusion",
    "block_out_channels": [32, 32],
    "layers_per_block": 1,
    "image_size": 32,
    "text": {
        **{"image_size": 16, "base_channels": 8, "hidden_size": 32, "text_layers": 1, "projection_dim": 8},
        **{"context_length": 8, "merges": ["h a", "ha t</w>"]},
    },
    "autoencoder": {"block_out_channels": [32, 32], "layers_per_block": 1, "latent_channels": 4},
}
IMAGE, MASK, GONE = (f"img_{digit * 64}" for digit in "012")
TOLERANCE = 3  # of 255: sums in another order round differently, more so in bfloat16
Step = Callable[..., None]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Card]:
    """The card of a tiny model, whose file is in the folder of trained models."""
    weights_dir = tmp_path_factory.mktemp("weights")
    (weights_dir / "vgg16").symlink_to((WEIGHTS_DIR / "vgg16").resolve())
    card = saved("tiny", ARCHITECTURE, weights_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATELIER_WEIGHTS_DIR", str(weights_dir))
        forget()
        yield card
    forget()


def saved(model_id: str, architecture: dict[str, Any], weights_dir: Path) -> Card:
    torch.manual_seed(0)
    card = Card(model_id, "text-to-image", "", "", "MIT", {"kind": "trained"}, {WEIGHTS: None}, architecture)
    folder = folder_of(card, weights_dir)
    folder.mkdir(parents=True)
    save_weights(build(architecture).state_dict(), folder / WEIGHTS)
    card.files[WEIGHTS] = file_sha256(folder / WEIGHTS)
    return card


def forget() -> None:
    get_settings.cache_clear()
    loaded.evict_all()


def read_image(image_id: str) -> Pixels:
    if image_id == GONE:
        raise NotFound("image_not_found", "It is gone.")
    image = np.zeros((40, 48, 3), np.uint8)
    image[:20] = 255
    return image if image_id == MASK else np.full_like(image, 90)


def task(card: Card, step: Step = lambda *progress: None, **params: Any) -> Task:
    asked = {"mode": "text-to-image", "model": "tiny", "prompt": "a hat", "num_inference_steps": 4, "seed": 1}
    request: Any = parse("generation" if "method" not in params else "style-transfer", asked | params)
    return Task(request.fitted(card.architecture), step, read_image, lambda model_id: card, cast(Any, None))


def run(tasks: list[Task]) -> list[JobResult | Exception]:
    with failures():
        return list(runners.run(tasks))


def images_of(made: JobResult | Exception) -> Pixels:
    assert isinstance(made, JobResult), made
    return np.stack([image.pixels for image in made.images if image.role == "picture"])


def apart(a: Pixels, b: Pixels) -> int:
    return int(np.abs(a.astype(int) - b).max())


def test_each_job_of_a_batch_has_the_result_it_has_alone(tiny: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = [
        {"prompt": "a hat"},
        {"prompt": "a man", "seed": MAX_SEED, "num_images_per_prompt": 3},
        {"prompt": "a hat", "negative_prompt": "fog"},
    ]
    reported: list[list[tuple[int, int]]] = [[] for _ in asked]

    def noting(place: int) -> Step:
        def step(done: int, total: int, message: str, image: Callable[[], Pixels]) -> None:
            reported[place].append((done, total))
            assert image().dtype == np.uint8

        return step

    together = run([task(tiny, noting(i), **params) for i, params in enumerate(asked)])
    assert reported == [[(1, 4), (2, 4), (3, 4), (4, 4)]] * 3
    assert [len(images_of(made)) for made in together] == [1, 3, 1]
    for params, made in zip(asked, together, strict=True):
        alone = run_alone(task(tiny, **params))
        assert apart(images_of(made), images_of(alone)) <= TOLERANCE
        assert isinstance(made, JobResult) and (made.metrics["batch"], alone.metrics["batch"]) == (3, 1)
    second = together[1]
    assert isinstance(second, JobResult)
    assert [(image.role, image.seed) for image in second.images] == [
        *(("picture", seed) for seed in (MAX_SEED, 0, 1)),
        ("grid", None),
    ]
    assert apart(images_of(together[0]), images_of(together[2])) > 2 * TOLERANCE

    # A batch that is too large is split; the numbers of steps show it.
    monkeypatch.setattr(text_to_image, "MAX_BATCH_PIXELS", 2 * 32 * 32)
    for steps in reported:
        steps.clear()
    in_parts = run([task(tiny, noting(i), **params) for i, params in enumerate(asked)])
    assert [(len(steps), steps[-1]) for steps in reported] == [(4, (4, 4)), (8, (8, 8)), (4, (4, 4))]
    for a, b in zip(in_parts, together, strict=True):
        assert apart(images_of(a), images_of(b)) <= TOLERANCE


def test_an_error_of_one_job_leaves_the_others_unchanged(tiny: Card) -> None:
    def raising(error: Exception) -> Step:
        def step(done: int, *progress: Any) -> None:
            if done == 2:
                raise error

        return step

    errors = [CanceledError(), LeaseLostError(), AtelierError("timeout", "Too long.")]
    found = run([*(task(tiny, raising(error), seed=9) for error in errors), task(tiny)])
    assert found[:3] == errors
    alone = run_alone(task(tiny))
    assert apart(images_of(found[3]), images_of(alone)) <= TOLERANCE
    with pytest.raises(CanceledError):
        run_alone(task(tiny, raising(errors[0])))
    with pytest.raises(StoppingError):  # for the worker, not for a job
        run([task(tiny, raising(StoppingError())), task(tiny)])


def test_a_batch_stops_when_all_of_its_jobs_have_ended(tiny: Card) -> None:
    reported = []

    def step(done: int, *rest: Any) -> None:
        reported.append(done)
        raise CanceledError

    assert all(isinstance(found, CanceledError) for found in run([task(tiny, step), task(tiny, step)]))
    assert reported == [1, 1]


def test_a_missing_image_fails_only_its_job(tiny: Card) -> None:
    asked: dict[str, Any] = {"mode": "image-to-image", "strength": 0.5}
    gone, there = run([task(tiny, image=GONE, **asked), task(tiny, image=IMAGE, **asked)])
    assert isinstance(gone, AtelierError) and gone.code == "image_not_found"
    assert images_of(there).shape == (1, 32, 32, 3)


def test_inpainting_keeps_the_image_outside_the_mask(tiny: Card) -> None:
    made = run_alone(task(tiny, mode="inpaint", image=IMAGE, mask=MASK, strength=1.0))
    [found] = images_of(made)
    assert (found[17:] == 90).all()
    assert np.abs(found[:15].astype(int) - 90).mean() > 5


@pytest.mark.parametrize("levels", [(1, 255), (10, 245), (100, 140)])
def test_a_gray_mask_changes_the_image_partly(tiny: Card, levels: tuple[int, int]) -> None:
    def made(low: int, high: int) -> Pixels:
        image = np.full((40, 48, 3), low, np.uint8)
        image[:20] = high
        asked = task(tiny, mode="inpaint", image=IMAGE, mask=MASK, strength=1.0)
        asked.read_image = lambda image_id: image if image_id == MASK else read_image(image_id)
        found: Pixels = images_of(run_alone(asked))[0]
        return found

    assert (made(*levels) == made(0, 255)).all()


def test_a_mask_is_feathered_inside_its_edge(tiny: Card) -> None:
    """The image is 90 everywhere: the step at the edge falls to a fifth, and outside nothing changes."""

    def found(feather: int) -> NDArray[np.int64]:
        asked = task(tiny, mode="inpaint", image=IMAGE, mask=MASK, strength=1.0, mask_feather=feather)
        made: Pixels = images_of(run_alone(asked))[0]
        return made.astype(np.int64)

    hard, soft = found(0), found(4)
    assert (soft[16:] == 90).all() and (soft[:12] == hard[:12]).all()
    for row, share in ((15, 0.2), (14, 0.4), (13, 0.6), (12, 0.8)):
        assert np.abs(soft[row] - (90 + share * (hard[row] - 90))).max() <= 1


def test_the_unread_end_of_a_prompt_is_in_the_metrics(tiny: Card) -> None:
    made = run_alone(task(tiny, prompt="hat " * 7 + "man", negative_prompt="hat " * 8))
    assert made.metrics["prompt_cut"] == "hat man" and made.metrics["negative_prompt_cut"] == "hat hat"
    assert "prompt_cut" not in run_alone(task(tiny)).metrics


def lora(weights_dir: Path, name: str = "ink") -> Card:
    """The card of a LoRA of the tiny model, made by peft with random weights, and its file."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(1)
    pipeline: Any = cast(Any, build(ARCHITECTURE)).pipeline
    pipeline.unet.add_adapter(LoraConfig(r=4, target_modules=["to_q", "to_v", "to_out.0"], init_lora_weights=False))
    folder = weights_dir / name
    layers = get_peft_model_state_dict(pipeline.unet)
    pipeline.save_lora_weights(folder, unet_lora_layers=layers, weight_name=f"{name}.safetensors")
    source, architecture = {"kind": "local"}, {"name": "lora", "base": "tiny"}
    files: dict[str, str | None] = {f"{name}.safetensors": file_sha256(folder / f"{name}.safetensors")}
    return Card(name, "lora", "", "", "MIT", source, files, architecture)


def test_loras_change_only_the_images_of_their_jobs(tiny: Card) -> None:
    weights_dir = get_settings().weights_dir
    ink = lora(weights_dir)

    def wearing(*loras: dict[str, Any]) -> Task:
        made = task(tiny, loras=list(loras))
        made.find_model = lambda model_id: {"tiny": tiny, "ink": ink}[model_id]
        return made

    plain = images_of(run_alone(wearing()))
    first, second = run([wearing({"model": "ink", "scale": 2.0}), wearing({"model": "ink", "scale": 2.0})])
    assert isinstance(first, JobResult) and set(first.models) == {"tiny", "ink"}
    assert first.models["ink"] == str(ink.files["ink.safetensors"])[:16]
    assert apart(images_of(first), plain) > 2 * TOLERANCE >= apart(images_of(first), images_of(second))
    assert (images_of(run_alone(wearing())) == plain).all()

    (weights_dir / "ink" / "ink.safetensors").write_bytes(b"other")
    with pytest.raises(AtelierError, match="sha256 differs") as caught:
        run([wearing({"model": "ink"})])
    assert caught.value.code == "weights_unavailable"
    ink.files["ink.safetensors"] = file_sha256(weights_dir / "ink" / "ink.safetensors")
    with pytest.raises(AtelierError, match="LoRA ink cannot be put on model tiny") as caught:
        run([wearing({"model": "ink"})])
    assert caught.value.code == "lora_unusable"
    (weights_dir / "ink" / "ink.safetensors").unlink()
    with pytest.raises(AtelierError, match=r"python -m models\.fetch ink"):
        run([wearing({"model": "ink"})])
    assert (images_of(run_alone(wearing())) == plain).all()


def test_unused_tensors_of_a_lora_are_a_warning_of_each_job(tiny: Card) -> None:
    weights_dir = get_settings().weights_dir
    ink = lora(weights_dir, "more")
    path = weights_dir / "more" / "more.safetensors"
    nowhere = {f"unet.nowhere.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}
    save_file(load_file(path) | nowhere, path)
    ink.files[path.name] = file_sha256(path)
    both = [task(tiny, loras=[{"model": "more"}]) for _ in range(2)]
    for each in both:
        each.find_model = lambda model_id: {"tiny": tiny, "more": ink}[model_id]
    assert all(isinstance(made, JobResult) for made in run(both))
    for each in both:
        [warning] = each.warnings
        assert warning["code"] == "lora_keys_unused"
        assert "2 tensors of LoRA more" in warning["message"] and "unet.nowhere.lora_A.weight" in warning["message"]


def test_latents_that_are_not_finite_fail_their_job(tiny: Card) -> None:
    """The real model with a damaged weight in memory."""
    assert isinstance(run([task(tiny)])[0], JobResult)
    model: Any = network.load_network(task(tiny), "tiny").module
    bias = model.pipeline.unet.conv_out.bias
    before = bias.clone()
    try:
        bias.fill_(float("nan"))
        assert [type(made) for made in run([task(tiny), task(tiny)])] == [NotFiniteError] * 2
    finally:
        bias.copy_(before)
    assert isinstance(run([task(tiny)])[0], JobResult)


def test_words_and_syntax_that_a_model_does_not_know_are_warnings(tiny: Card) -> None:
    forget()  # a loaded model has the card it was loaded with
    known = replace(tiny, training={"words": ["a", "hat"]})
    plain, odd = task(known), task(known, prompt="a (red:1.5) hat", negative_prompt="BREAK a dragon")
    run([plain, odd])
    assert plain.warnings == []
    assert [(each["code"], each["message"].partition(":")[0]) for each in odd.warnings] == [
        *[("syntax_as_text", "prompt"), ("unknown_words", "prompt")],
        *[("syntax_as_text", "negative_prompt"), ("unknown_words", "negative_prompt")],
    ]
    assert "without red; it knows a, hat." in odd.warnings[1]["message"]
    forget()
    unread = task(tiny, prompt="a dragon")
    run([unread])
    assert unread.warnings == [], "the card has no list of words"


def test_an_image_unlike_the_training_data_is_a_warning(tiny: Card) -> None:
    def warned(greatest: float) -> list[str]:
        forget()
        figures = {"reconstruction_error": {"median": 0.0, "greatest": greatest, "images": 9}}
        asked = task(replace(tiny, training=figures), mode="image-to-image", image=IMAGE, strength=1.0)
        run([asked])
        return [each["code"] for each in asked.warnings]

    assert warned(1.0) == [] and warned(0.0) == ["image_unlike_training"]
    forget()


def test_an_image_that_does_not_fit_names_the_size_that_does(tiny: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_to_image, "available_memory", lambda device: 4 * (512 + 8 * 32) * 64 * 32)
    with pytest.raises(AtelierError, match=r"^width: 128 x 64 pixels need .* free; 64 x 32 would fit\.$") as caught:
        run([task(tiny, width=128, height=64)])
    assert caught.value.code == "out_of_memory"
    assert len(images_of(run_alone(task(tiny)))) == 1


def test_weights_in_a_prompt_change_only_its_image(tiny: Card) -> None:
    asked = ["a hat", "a (hat)3", "(a hat)9"]
    plain, weighted, bad = run([task(tiny, prompt=prompt, guidance_scale=8) for prompt in asked])
    alone = images_of(run_alone(task(tiny, guidance_scale=8)))
    assert apart(images_of(plain), alone) <= TOLERANCE < apart(images_of(weighted), alone)
    assert isinstance(bad, AtelierError) and bad.message == "prompt: It cannot be parsed: weights must be 0 to 5."


def test_a_sweep_of_style_guidance_is_a_grid_and_lowers_the_loss(tiny: Card) -> None:
    made = run_alone(
        task(
            tiny,
            method="diffusion",
            mode="transfer",
            style=MASK,
            style_guidance_scale=[0, 0.3],
            num_images_per_prompt=2,
            style_layers=["relu1_1"],
        )
    )
    assert [(image.role, image.seed) for image in made.images] == [
        *(("picture", seed) for seed in (1, 1, 2, 2)),
        ("grid", None),
    ]
    losses = np.array(made.metrics["style_loss"])
    assert losses.shape == (2, 2) and (losses[:, 1] < losses[:, 0]).all()
    assert set(made.models) == {"tiny", "vgg16"}
    alone = run_alone(task(tiny, scheduler="ddim"))
    unguided, [own] = made.images[0].pixels, images_of(alone)
    assert np.abs(unguided.astype(int) - own).mean() < 2, "no guidance is the model's own image"


def test_a_style_transfer_by_diffusion_can_start_from_an_image(tiny: Card) -> None:
    steps: list[tuple[int, int]] = []

    def step(done: int, total: int, message: str, image: Callable[[], Pixels]) -> None:
        steps.append((done, total))
        assert image().dtype == np.uint8

    asked: dict[str, Any] = {"method": "diffusion", "mode": "transfer", "style": MASK, "style_layers": ["relu1_1"]}
    made = run_alone(task(tiny, step, content=IMAGE, strength=0.5, **asked))
    assert steps == [(1, 2), (2, 2)] and len(made.images) == 1
    with pytest.raises(AtelierError, match="gone"):
        run_alone(task(tiny, content=GONE, **asked))


def test_memory_is_freed_when_models_are_swapped(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_dir = tmp_path_factory.mktemp("swapped")
    wide = ARCHITECTURE | {"block_out_channels": [96, 96]}
    cards = {name: saved(name, wide, weights_dir) for name in ("one", "other")}
    n_bytes = 2 * (folder_of(cards["one"], weights_dir) / WEIGHTS).stat().st_size  # in fp32
    monkeypatch.setenv("ATELIER_WEIGHTS_DIR", str(weights_dir))
    monkeypatch.setenv("ATELIER_MODEL_MEMORY_BYTES", "1")  # only the model in use stays cached
    forget()

    def swap() -> None:
        for name, card in cards.items():
            run_alone(task(card, model=name, num_inference_steps=1))
            assert [key[0] for key in loaded._entries] == [name]

    swap()
    before = resident()
    for _ in range(10):
        swap()
    grown = resident() - before
    forget()
    assert n_bytes > 10e6
    assert grown < 5 * n_bytes, "20 models were loaded"


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_each_claimed_job_reaches_its_own_terminal_state(tiny: Card, jobs: JobStore, objects: Objects) -> None:
    """In the store, one job succeeds, one is canceled while it runs, one fails."""
    base: dict[str, Any] = {
        "mode": "image-to-image",
        "model": "tiny",
        "prompt": "a hat",
        "num_inference_steps": 4,
        "seed": 1,
    }
    base |= {"strength": 1.0, "format": "png", "width": 64, "height": 64, "guidance_scale": 4.0, "scheduler": "ddim"}
    file = BytesIO()
    Image.fromarray(read_image(IMAGE)).save(file, "PNG")
    image = "img_" + objects.put(file.getvalue(), "image/png")
    asked: list[tuple[dict[str, Any], str]] = [
        ({"image": image}, "alike"),
        ({"image": image, "seed": 2}, "alike"),
        ({"image": GONE}, "alike"),
    ]
    asked.append(({"image": image}, "others"))
    good, canceled, gone, other = [
        jobs.create(NewJob(kind="generation", queue="gpu", params=base | params, compat=compat, priority=-place))[0]
        for place, (params, compat) in enumerate(asked)
    ]
    records = jobs.claim("gpu", worker="test", limit=8)
    assert [record.id for record in records] == [good, canceled, gone]
    jobs.cancel(canceled)

    def with_the_tiny_model(tasks: Sequence[Task]) -> Sequence[JobResult | Exception]:
        for each in tasks:
            each.find_model = lambda model_id: tiny
        return runners.run(tasks)

    run_jobs(jobs, objects, objects, records, with_the_tiny_model)
    statuses = [jobs.get(job_id).status for job_id in (good, canceled, gone, other)]
    assert statuses == ["succeeded", "canceled", "failed", "queued"]
    assert len(jobs.get(good).outputs) == 1 and jobs.get(good).metrics["batch"] == 3
    error = jobs.get(gone).error
    assert error and error["code"] == "object_not_found"
