"""What the jobs of a batch add to a model, with a tiny untrained model of the real architecture."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jobs.errors import AtelierError
from jobs.settings import get_settings
from models.catalogue import Card, file_sha256
from tests.worker.runners.prompted import TOLERANCE, apart, images_of, run, task
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
