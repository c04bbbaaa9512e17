"""What the jobs of a batch add to a model, with a tiny untrained model of the real architecture."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from jobs.errors import AtelierError
from jobs.settings import get_settings
from models.build import build
from models.catalogue import Card, file_sha256
from models.diffusion.text_to_image import TextToImageModel
from tests.models.diffusion.additions import save_controlnet, save_image_prompt
from tests.worker.runners.prompted import ARCHITECTURE, GONE, IMAGE, MASK, TOLERANCE, apart, images_of, run, task
from tests.worker.tasks import run_alone
from worker.run import JobResult, Task


def added(model_id: str, state: dict[str, torch.Tensor], **architecture: str) -> Card:
    """The card of an addition to the tiny model, and its file."""
    folder = get_settings().weights_dir / model_id
    folder.mkdir(parents=True, exist_ok=True)
    path: Path = folder / f"{model_id}.safetensors"
    save_file(state, path)
    kind = {"base": "tiny", **architecture}
    return Card(model_id, kind["name"], "", "", "MIT", {"kind": "local"}, {path.name: file_sha256(path)}, kind)


def in_files(name: str, architecture: str) -> Card:
    """The card of an addition of several files, which are in its folder."""
    folder = get_settings().weights_dir / name
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files: dict[str, str | None] = {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}
    kind = {"name": architecture, "base": "tiny"}
    return Card(name, "", "", "", "MIT", {"kind": "local"}, files, kind)


def pipeline() -> Any:
    torch.manual_seed(0)
    module = build(ARCHITECTURE)
    assert isinstance(module, TextToImageModel)
    return module.pipeline


def with_card(made: Task, tiny: Card, card: Card) -> Task:
    made.find_model = lambda model_id: {"tiny": tiny, card.id: card}[model_id]
    return made


def test_textual_inversions_change_only_the_images_of_their_jobs(tiny: Card) -> None:
    torch.manual_seed(0)
    cat = added("cat", {"x": 9 * torch.randn(3, 32)}, name="textual-inversion", token="<cat>")

    def seen(prompt: str, negative: str = "") -> Task:
        names = ["cat"] if "<cat>" in prompt + negative else []
        return with_card(task(tiny, prompt=prompt, negative_prompt=negative, textual_inversions=names), tiny, cat)

    plain = images_of(run_alone(seen("a hat")))
    tasks = [seen("a <cat>"), seen("a <cat>")]
    first, second = run(tasks)
    assert isinstance(first, JobResult) and set(first.models) == {"tiny", "cat"} and first.metrics["batch"] == 2
    assert apart(images_of(first), plain) > 2 * TOLERANCE >= apart(images_of(first), images_of(second))
    assert apart(images_of(run_alone(seen("a hat", "<cat>"))), plain) > 2 * TOLERANCE
    assert (images_of(run_alone(seen("a hat"))) == plain).all()
    assert not tasks[0].warnings and tasks[0].params.stored()["prompt"] == "a <cat>"

    wrong = added("cat", {"x": torch.ones(1, 31)}, name="textual-inversion", token="<cat>")
    with pytest.raises(AtelierError, match=r"cat cannot be used with model tiny: .* of 31 values") as caught:
        run([with_card(seen("a <cat>"), tiny, wrong)])
    assert caught.value.code == "addition_unusable"


def test_jobs_of_one_batch_follow_their_own_control(tiny: Card) -> None:
    save_controlnet(pipeline(), get_settings().weights_dir / "edges")
    edges = in_files("edges", "controlnet")

    def seen(image: str | None, **more: Any) -> Task:
        control: dict[str, Any] = {"control": {"model": "edges", "image": image, **more}} if image else {}
        return with_card(task(tiny, **control), tiny, edges)

    plain = images_of(run_alone(seen(None)))
    gray, halves, gone = run([seen(IMAGE), seen(MASK), seen(GONE)])
    assert isinstance(gray, JobResult) and set(gray.models) == {"tiny", "edges"} and gray.metrics["batch"] == 3
    assert isinstance(gone, AtelierError) and gone.code == "image_not_found"
    first, second = images_of(gray), images_of(halves)
    assert apart(first, plain) > 2 * TOLERANCE < apart(first, second)
    assert apart(images_of(run_alone(seen(MASK, preprocess="canny"))), second) > TOLERANCE
    assert apart(images_of(run_alone(seen(MASK, scale=0.0))), plain) <= TOLERANCE
    changed = task(tiny, mode="image-to-image", image=IMAGE, control={"model": "edges", "image": MASK})
    assert images_of(run_alone(with_card(changed, tiny, edges))).shape == plain.shape
    assert (images_of(run_alone(seen(None))) == plain).all()

    save_controlnet(pipeline(), get_settings().weights_dir / "far", (8,) * 5)
    far = task(tiny, control={"model": "far", "image": MASK})
    with pytest.raises(AtelierError, match="far cannot be used with model tiny: it divides sides by 16") as caught:
        run([with_card(far, tiny, in_files("far", "controlnet"))])
    assert caught.value.code == "addition_unusable"


@pytest.mark.parametrize("plus", [False, True])
def test_an_image_prompt_changes_only_the_images_of_its_jobs(tiny: Card, plus: bool) -> None:
    save_image_prompt(pipeline(), get_settings().weights_dir / "adapter", plus=plus)
    adapter = in_files("adapter", "image-prompt")

    def seen(image: str | None, scale: float = 1.0, **more: Any) -> Task:
        prompt: dict[str, Any] = {"image_prompt": {"model": "adapter", "image": image, "scale": scale}} if image else {}
        return with_card(task(tiny, **prompt, **more), tiny, adapter)

    plain = images_of(run_alone(seen(None)))
    first, second = run([seen(MASK, num_images_per_prompt=2), seen(MASK)])
    assert isinstance(first, JobResult) and set(first.models) == {"tiny", "adapter"}
    assert apart(images_of(first)[:1], plain) > TOLERANCE >= apart(images_of(first)[:1], images_of(second))
    assert apart(images_of(run_alone(seen(IMAGE))), images_of(second)) > 0
    assert apart(images_of(run_alone(seen(MASK, 0.0))), plain) <= TOLERANCE
    assert apart(images_of(run_alone(seen(MASK, guidance_scale=0.0))), plain) > TOLERANCE
    assert (images_of(run_alone(seen(None))) == plain).all()
