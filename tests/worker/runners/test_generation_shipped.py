"""Images of the shipped models."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest

from jobs.requests.base import Request
from models.build import load_model
from models.catalogue import card
from models.data.avatars import avatar
from models.data.named import named_dataset
from models.generative.classifier import Classifier
from models.metrics import density_and_coverage, features
from tests.worker.runners.generations import IMAGES, A, B, C, D, apart, outputs, resolved
from tests.worker.runners.prompted import IMAGE, MASK
from tests.worker.tasks import forget, run_alone
from worker.run import JobResult, Task
from worker.runners import network


def shipped(model: str, **params: Any) -> JobResult:
    return run_alone(Task(resolved(card, model=model, **params), print, IMAGES.__getitem__, card, cast(Any, None)))


@pytest.fixture
def real_weights() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.mark.usefixtures("real_weights")
@pytest.mark.parametrize("scheduler", ["ddim", "dpm-solver++", "ddpm"])
def test_diffusion_images_are_the_same_alone_and_in_a_batch(scheduler: str) -> None:
    more = {"num_inference_steps": 50, "scheduler": scheduler}
    many = outputs(shipped("ddpm-digits", seeds=list(range(16)), **more))
    for seed in (0, 9):
        [alone] = outputs(shipped("ddpm-digits", seeds=[seed], **more))
        mean = np.abs(alone.pixels.astype(int) - many[seed].pixels).mean()
        print(f"{scheduler}, seed {seed}: {apart(alone, many[seed])} of 255 apart at most, {mean:.2f} in the mean")
        # Another batch size sums in another order, which 50 steps amplify; a mean of 2 of 255 levels is not visible.
        assert mean < 2


@pytest.mark.usefixtures("real_weights")
def test_a_reconstruction_is_nearest_to_its_original() -> None:
    faces = [A, B, C, D]
    made = shipped("vae-smileys", mode="reconstruct", images=faces)
    # In [0, 1]: edges are slightly blurred. The comparison below shows that each is the same face.
    assert max(made.metrics["mean_absolute_error"]) < 0.08
    originals = [IMAGES[face].astype(float) for face in faces]
    for place, image in enumerate(outputs(made)):
        errors = [float(np.abs(image.pixels - original).mean()) for original in originals]
        assert int(np.argmin(errors)) == place


@pytest.mark.usefixtures("real_weights")
def test_the_manifold_has_most_classes_of_clothes() -> None:
    made = shipped("vae-fashion-mnist-2", mode="traverse", steps=15)
    judge = network.load_network(
        Task(Request(), print, IMAGES.__getitem__, card, cast(Any, None)), "classifier-fashion-mnist", Classifier
    )
    seen = {answer for [answer] in judge.answers(np.stack([image.pixels for image in outputs(made)]))}
    assert len(seen) >= 7


@pytest.mark.usefixtures("real_weights")
def test_denoised_faces_lie_among_real_ones() -> None:
    """Density (Naeem et al. 2020): about 1 for real faces, 0 for images far from all of them."""
    made = shipped("ddpm-avatars", n=32, num_inference_steps=20, scheduler="dpm-solver++")
    judge = load_model(card("classifier-avatars"))
    assert isinstance(judge, Classifier)
    real, faces = named_dataset("avatars", "test", 200).images, np.stack([each.pixels for each in outputs(made)])
    density, _ = density_and_coverage(features(judge, real), features(judge, faces))
    print(f"density {density:.2f}")
    assert density > 0.7


@pytest.mark.usefixtures("real_weights")
def test_woman_with_glasses_by_arithmetic() -> None:
    """Radford et al. 2016, figure 7; one in five by chance."""
    terms = [
        {"sign": "+", "with": ["glasses"], "without": ["woman"]},
        {"sign": "-", "without": ["woman", "glasses"]},
        {"sign": "+", "with": ["woman"], "without": ["glasses"]},
    ]
    made = shipped("dcgan-avatars", mode="arithmetic", terms=terms, n=8, averaged=32, classifier="classifier-avatars")
    hits = sum({"woman", "glasses"} <= set(seen) for seen in made.metrics["attributes"])
    print(f"{hits} of 8 draws are women with glasses")
    assert hits >= 7


@pytest.mark.usefixtures("real_weights")
def test_a_cyclegan_adds_glasses() -> None:
    plain = {f"img_{i:064}": avatar(99, i, glasses=False)[0] for i in range(16)}
    task = Task(
        resolved(card, mode="translate", model="cyclegan-avatars-glasses", images=list(plain)),
        print,
        plain.__getitem__,
        card,
        cast(Any, None),
    )
    made = run_alone(task)
    judge = network.load_network(task, "classifier-avatars", Classifier)
    before, after = (
        sum("glasses" in seen for seen in judge.answers(np.stack(shown)))
        for shown in (list(plain.values()), [image.pixels for image in outputs(made)])
    )
    print(f"glasses on {before} of 16 before and on {after} of 16 after")
    assert before <= 1 and after >= 12


@pytest.mark.usefixtures("real_weights")
def test_inpainting_puts_a_hat_on_one_face_of_a_row() -> None:
    """The classifier sees the hat on the face that is masked; every pixel outside the mask is as it was."""
    row = np.concatenate([avatar(99, k, hat=None, glasses=False)[0] for k in (3, 5, 7)], axis=1)
    mask = np.zeros_like(row)
    mask[:24, 72:120] = 255
    images = {IMAGE: row, MASK: mask}
    for color in ("red", "yellow"):
        task = Task(
            resolved(
                card,
                model="stable-diffusion-avatars",
                **{"mode": "inpaint", "prompt": f"a woman with a {color} hat", "image": IMAGE, "mask": MASK},
                padding_mask_crop=8,
            ),
            *(print, images.__getitem__, card, cast(Any, None)),
        )
        [made] = outputs(run_alone(task))
        judge = network.load_network(task, "classifier-avatars", Classifier)
        assert (made.pixels[mask == 0] == row[mask == 0]).all()
        seen = judge.answers(np.stack(np.split(made.pixels, 3, axis=1)))
        assert [f"{color}_hat" in answers for answers in seen] == [False, True, False]
