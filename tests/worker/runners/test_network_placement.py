"""Every runner in every mode on a stand-in for a GPU (tests/stand_in.py), where tensors of two devices do not mix."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from torch import Tensor, nn

from jobs.objects import Objects
from jobs.store.jobs import JobStore
from models.catalogue import Card
from models.diffusion.embedding import Kandinsky
from tests.stand_in import NAME, Watch, gpu
from tests.worker.runners import collecting, generations, prompted
from tests.worker.runners import test_optimized as transfers
from tests.worker.runners import test_text_to_image_loras as loras
from tests.worker.tasks import run_alone
from worker.run import JobResult
from worker.runners import loaded


@pytest.fixture(scope="module", autouse=True)
def emptied() -> Iterator[None]:
    """Evicts models on other devices before and after these tests, which share theirs."""
    loaded.evict_all()
    yield
    loaded.evict_all()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """The stand-in; checks at the end that it did the work and that everything cached is on it."""
    monkeypatch.setenv("ATELIER_DTYPE", "float32")
    with gpu() as watch:
        yield watch
    assert watch.networks_on_cpu() == set()
    for entry in loaded._entries.values():
        assert {each.device.type for module in modules_of(entry.value) for each in tensors_of(module)} <= {NAME}


def modules_of(value: Any) -> list[nn.Module]:
    """The torch networks in a cached value; sessions of onnxruntime and collections have none."""
    return [found for found in (value, getattr(value, "module", None)) if isinstance(found, nn.Module)]


def tensors_of(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


SMALL = {"size": 64, "num_steps": 2}
STYLE = transfers.STYLE
LOSSES = {"gram": 1.0, "mean-std": 1.0, "covariance": 1.0, "sliced-wasserstein": 1.0, "histogram": 1.0}
OPTIMIZED: dict[str, dict[str, Any]] = {
    "transfer": {"method": "gatys", "style": STYLE, "style_losses": LOSSES, "before_after": True, **SMALL},
    "from noise by adam": {"method": "gatys", "style": STYLE, "init": "noise", "optimizer": "adam", **SMALL},
    "from fast, in gray": {
        **{"method": "gatys", "style": STYLE, "init": "fast", "preserve_color": "luminance", **SMALL}
    },
    "in a mask": {
        **{"method": "gatys", "style": [{"image": STYLE, "mask": STYLE, "style_mask": transfers.PHOTO}], **SMALL}
    },
}


@pytest.mark.parametrize("params", OPTIMIZED.values(), ids=OPTIMIZED)
def test_an_optimized_transfer(watch: Watch, params: dict[str, Any]) -> None:
    transfers.run(**{"model": "vgg16", **params})


def test_a_texture(watch: Watch) -> None:
    transfers.optimized(mode="texture", style=STYLE, width=64, height=64, style_layers=["relu1_1"], num_steps=2)


def test_an_inversion(watch: Watch) -> None:
    layers = ["relu2_1", "relu1_1"]
    transfers.optimized(mode="inversion", content=transfers.PHOTO, size=64, layers=layers, num_steps=2)


def test_a_fast_transfer_where_onnxruntime_offers_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions are real and run on the CPU, as onnxruntime falls back to it without a GPU."""
    asked: list[list[Any]] = []

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, path: Path, options: Any, providers: list[Any]) -> None:
            asked.append(providers)
            super().__init__(path, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", *super().get_providers()]

    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    loaded.evict_all()
    notes = []
    for style in ("builtin:3", STYLE):
        task = transfers.task_of({"method": "fast", "style": style, "size": 64})
        run_alone(task)
        notes.append(task.notes["device"])
    loaded.evict_all()
    assert [[provider[0] for provider in providers[:1]] for providers in asked] == [["CUDAExecutionProvider"]] * 3
    assert all(providers[-1] == "CPUExecutionProvider" for providers in asked)
    assert notes == ["cuda", "cuda"]


@pytest.mark.parametrize("space", ["pixels", "vae-smileys", "kandinsky-avatars"])
def test_a_collection_and_what_is_made_of_it(
    watch: Watch, installation: tuple[JobStore, Objects], monkeypatch: pytest.MonkeyPatch, space: str
) -> None:
    defaults = Kandinsky.decode.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "num_inference_steps", 2)
    asked = {"name": "Few", "space": space, "limit": 24, "n_components": 2, "seed": 3}
    asked |= {"clusterings": [{"method": "kmeans", "n_clusters": 2}, {"method": "mixture", "n_components": 2}]}
    asked |= {"data": "avatars", **({"image_size": 16} if space == "pixels" else {})}
    founded = collecting.found(installation, asked)
    assert founded.status == "succeeded", founded.error
    components = [{"component": 0, "strengths": [1]}]
    starts = ["mean", {"text": "a man"}] if space.startswith("kandinsky") else ["mean"]
    jobs = [collecting.steer(installation, founded, start=start, components=components) for start in starts]
    jobs += [collecting.sample(installation, founded, clustering=method, n=1) for method in ("kmeans", "mixture")]
    for job in jobs:
        assert job.status == "succeeded", job.error


A, B = generations.A, generations.B
FEW: dict[str, Any] = {"num_inference_steps": 2}
RED = {"sign": "+", "with": ["bright"]}


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("vae", {"n": 2}),
        ("conv", {"n": 2}),
        ("gan", {"n": 2}),
        ("dcgan", {"n": 2}),
        ("ddpm", {"n": 2, "scheduler": "ddpm", **FEW}),
        ("latent-ddpm", {"n": 2, "scheduler": "ddim", **FEW}),
        ("attribute-ddpm", {"n": 2, "scheduler": "dpm-solver++", "attributes": ["hat"], "guidance_scale": 3, **FEW}),
        ("vae", {"mode": "reconstruct", "images": [A, B]}),
        ("dcgan", {"mode": "reconstruct", "images": [A]}),
        ("conv", {"mode": "interpolate", "between": [A, 4], "steps": 3}),
        ("attribute-ddpm", {"mode": "interpolate", "between": [4, 9], "steps": 3, **FEW}),
        ("vae", {"mode": "traverse", "steps": 3}),
        ("conv", {"mode": "traverse", "start": A, "steps": 3}),
        ("conv", {"mode": "arithmetic", "terms": [{"sign": "+", "image": A}, {"sign": "-", "seed": 3}]}),
        ("gan", {"mode": "arithmetic", "terms": [RED], "averaged": 4, "n": 1, "classifier": "judge"}),
        ("cyclegan", {"mode": "translate", "images": [A], "direction": "b-to-a"}),
        ("latent-ddpm", {"mode": "denoise-steps", "shown": 2, **FEW}),
    ],
    ids=str,
)
def test_a_generation(watch: Watch, known: dict[str, Card], model: str, params: dict[str, Any]) -> None:
    generations.run(known, model, **params)


PROMPTED: dict[str, dict[str, Any]] = {
    "text-to-image": {},
    "guidance": {"guidance_scale": 5, "negative_prompt": "fog", "num_images_per_prompt": 2},
    "weighted words": {"prompt": "a (hat)3", "scheduler": "euler"},
    "image-to-image": {"mode": "image-to-image", "image": prompted.IMAGE, "strength": 0.5},
    "inpaint": {"mode": "inpaint", "image": prompted.IMAGE, "mask": prompted.MASK, "strength": 1.0},
}


@pytest.mark.parametrize("params", PROMPTED.values(), ids=PROMPTED)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_prompt(watch: Watch, tiny: Card, params: dict[str, Any], n_jobs: int) -> None:
    def step(done: int, total: int, message: str, image: Any) -> None:
        assert image().ndim == 3

    made = prompted.run([prompted.task(tiny, step, **FEW, **params) for _ in range(n_jobs)])
    assert all(isinstance(each, JobResult) for each in made)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm-solver++", "unipc", "lcm"])
def test_a_scheduler(watch: Watch, tiny: Card, scheduler: str) -> None:
    run_alone(prompted.task(tiny, scheduler=scheduler))


def test_a_lora(watch: Watch, tiny: Card) -> None:
    loras.test_loras_change_only_the_images_of_their_jobs(tiny)


@pytest.mark.parametrize("start", [{}, {"content": prompted.IMAGE, "strength": 0.5}], ids=["noise", "content"])
def test_a_style_transfer_by_diffusion(watch: Watch, tiny: Card, start: dict[str, Any]) -> None:
    asked: dict[str, Any] = {
        **FEW,
        "method": "diffusion",
        "mode": "transfer",
        "style": prompted.MASK,
        "style_layers": ["relu1_1"],
    }
    run_alone(prompted.task(tiny, **asked, **start))


def test_one_network_serves_all_that_share_it_and_stays_where_it_is(watch: Watch, tiny: Card) -> None:
    def tensors() -> dict[str, list[int]]:
        return {
            model: [id(each) for module in modules_of(entry.value) for each in tensors_of(module)]
            for (model, _), entry in loaded._entries.items()
        }

    loaded.evict_all()
    transfers.run(method="gatys", style=STYLE, model="vgg16", **SMALL)
    before = tensors()
    asked: dict[str, Any] = {
        **FEW,
        "method": "diffusion",
        "mode": "transfer",
        "style": prompted.MASK,
        "style_layers": ["relu1_1"],
    }
    run_alone(prompted.task(tiny, **asked))
    run_alone(prompted.task(tiny, **FEW))
    transfers.run(method="gatys", style=STYLE, model="vgg16", **SMALL)
    after = tensors()
    assert list(before) == ["vgg16"] and set(after) == {"vgg16", "tiny"}
    assert after["vgg16"] == before["vgg16"] != []
