"""Batches of jobs, with a tiny untrained model of the real architecture."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.errors import AtelierError
from jobs.objects import Objects
from jobs.requests.base import MAX_SEED
from jobs.store.jobs import JobStore
from jobs.store.records import NewJob
from models.build import WEIGHTS
from models.catalogue import Card, folder_of
from models.diffusion.text_to_image import TextToImageModel
from models.errors import NotFiniteError
from tests.worker.runners.prompted import (
    ARCHITECTURE,
    GONE,
    IMAGE,
    TOLERANCE,
    Step,
    apart,
    images_of,
    read_image,
    run,
    saved,
    task,
)
from tests.worker.tasks import forget, run_alone
from worker import runners
from worker.lease import CanceledError, LeaseLostError, StoppingError
from worker.run import JobResult, Pixels, Task, run_jobs
from worker.runners import loaded, network, text_to_image


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


def test_long_prompts_are_read_to_their_end_and_leave_their_batch_alone(tiny: Card) -> None:
    long = "hat " * 6 + "man"
    together = run([task(tiny), task(tiny, prompt=long), task(tiny, prompt="a hat BREAK a man")])
    assert all(isinstance(made, JobResult) and "prompt_cut" not in made.metrics for made in together)
    alone = [images_of(run_alone(task(tiny, prompt=prompt))) for prompt in ("a hat", long, "hat " * 6)]
    assert apart(images_of(together[0]), alone[0]) <= TOLERANCE
    assert apart(images_of(together[1]), alone[1]) <= TOLERANCE < apart(alone[1], alone[2])


def test_latents_that_are_not_finite_fail_their_job(tiny: Card) -> None:
    """The real model with a damaged weight in memory."""
    assert isinstance(run([task(tiny)])[0], JobResult)
    model: Any = network.load_network(task(tiny), "tiny", TextToImageModel).module
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
    plain, odd = task(known), task(known, prompt="a (red) hat AND", negative_prompt="{a|the} dragon")
    run([plain, odd])
    assert plain.warnings == []
    assert [(each["code"], each["message"].partition(":")[0]) for each in odd.warnings] == [
        *[("syntax_as_text", "prompt"), ("unknown_words", "prompt")],
        *[("syntax_as_text", "negative_prompt"), ("prompt_unknown", "negative_prompt")],
    ]
    assert "without red; it knows hat." in odd.warnings[1]["message"]
    forget()
    typed = task(
        replace(tiny, training={"words": ["a", "smiling", "hat"], "typos": True}), prompt="a smilign hat, tall"
    )
    run([typed])
    assert [each["code"] for each in typed.warnings] == ["typing_errors", "unknown_words"]
    assert "reads smilign as smiling." in typed.warnings[0]["message"]
    forget()
    unread = task(tiny, prompt="a dragon")
    run([unread])
    assert unread.warnings == [], "the card has no list of words"


def test_weights_in_a_prompt_change_only_its_image(tiny: Card) -> None:
    asked = ["a hat", "a (hat)3", "(a hat)9"]
    plain, weighted, bad = run([task(tiny, prompt=prompt, guidance_scale=8) for prompt in asked])
    alone = images_of(run_alone(task(tiny, guidance_scale=8)))
    assert apart(images_of(plain), alone) <= TOLERANCE < apart(images_of(weighted), alone)
    assert isinstance(bad, AtelierError) and bad.message == "prompt: It cannot be parsed: weights must be 0 to 5."


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

    def with_the_tiny_model(tasks: Sequence[Task]) -> Iterable[JobResult | Exception]:
        for each in tasks:
            each.find_model = lambda model_id: tiny
        return runners.run(tasks)

    run_jobs(jobs, objects, objects, records, with_the_tiny_model)
    statuses = [jobs.get(job_id).status for job_id in (good, canceled, gone, other)]
    assert statuses == ["succeeded", "canceled", "failed", "queued"]
    assert len(jobs.get(good).outputs) == 1 and jobs.get(good).metrics["batch"] == 3
    error = jobs.get(gone).error
    assert error and error["code"] == "object_not_found"
