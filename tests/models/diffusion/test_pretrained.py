"""The three full-size spaces at a tiny size: real classes, saved as they are published, laid out as fetched."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    KandinskyV22PriorPipeline,
)
from torch import Tensor

from models.build import load_model
from models.catalogue import Card, card, revision
from models.diffusion.pretrained import ADAPTER, AT_ONCE, NoTextStartError, Pretrained
from models.errors import WeightsError
from models.space.space import space_of
from tests.models.diffusion.saved import DIM, NAMES, SIZE, STEPS, lay_out, write_record


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Card]]:
    folder = tmp_path_factory.mktemp("weights")
    return folder, {name: lay_out(name, folder) for name in NAMES}


@pytest.fixture(scope="module")
def loaded(weights: tuple[Path, dict[str, Card]]) -> dict[str, Pretrained]:
    folder, tiny = weights
    made = {name: load_model(tiny[name], folder) for name in NAMES}
    assert all(isinstance(model, Pretrained) for model in made.values())
    return made  # type: ignore[return-value]


def draw(model: Pretrained, embeds: Tensor, seeds: list[int]) -> Tensor:
    return model.decode(embeds, seeds=seeds, num_inference_steps=STEPS)


@pytest.mark.parametrize("name", NAMES)
def test_images_become_embeddings_whatever_their_size(loaded: dict[str, Pretrained], name: str) -> None:
    model = loaded[name]
    small, large = torch.rand(2, 3, 24, 24), torch.rand(2, 3, 50, 50)
    assert model.dim == DIM and model.image_size == SIZE
    assert model.encode_images(small).shape == model.encode_images(large).shape == (2, DIM)
    by_hand = model.image_encoder((small - model.mean) / model.std).image_embeds
    assert torch.allclose(model.encode_images(small), by_hand, atol=1e-5)


def test_the_processor_says_how_images_are_normalized(loaded: dict[str, Pretrained]) -> None:
    means = {name: model.mean.flatten().tolist() for name, model in loaded.items()}
    assert means["kandinsky-2.2"] == means["stable-unclip"] == pytest.approx([0.4, 0.5, 0.6])
    assert means["ip-adapter"] == pytest.approx([0.48145466, 0.4578275, 0.40821073])


@pytest.mark.parametrize("name", NAMES)
def test_a_image_is_the_same_alone_and_in_a_batch(loaded: dict[str, Pretrained], name: str) -> None:
    torch.manual_seed(1)
    embeds = torch.randn(AT_ONCE + 1, DIM)
    seeds = list(range(10, 11 + AT_ONCE))
    images = draw(loaded[name], embeds, seeds)
    assert images.shape == (AT_ONCE + 1, 3, SIZE, SIZE) and images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.01
    for k in (1, AT_ONCE):
        assert torch.allclose(images[k], draw(loaded[name], embeds[[k]], [seeds[k]])[0], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_space(loaded: dict[str, Pretrained], name: str) -> None:
    space = space_of(loaded[name], card(name).architecture)
    images = torch.rand(1, 3, space.image_size, space.image_size)
    vectors = space.encode(images)
    assert vectors.shape == (1, space.dim) and space.decode(vectors, seeds=[3]).shape == images.shape


@pytest.mark.parametrize("name", NAMES)
def test_the_embedding_and_the_seed_change_the_image(loaded: dict[str, Pretrained], name: str) -> None:
    torch.manual_seed(1)
    a, b = torch.randn(2, 1, DIM)
    first = draw(loaded[name], a, [0])
    assert torch.equal(first, draw(loaded[name], a, [0]))
    assert not torch.allclose(first, draw(loaded[name], b, [0]), atol=1e-4)
    assert not torch.allclose(first, draw(loaded[name], a, [1]), atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_in_mixed_precision_as_a_worker_runs_it(loaded: dict[str, Pretrained], name: str) -> None:
    torch.manual_seed(1)
    originals = torch.rand(2, 3, SIZE, SIZE)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        embeds = loaded[name].encode_images(originals)
        images = draw(loaded[name], embeds, [0, 1])
    assert embeds.dtype == images.dtype == torch.float32
    assert torch.isfinite(images).all() and images.std() > 0.01
    draw(loaded[name], embeds.clone(), [0, 1])  # and as before afterwards


@pytest.mark.parametrize("name", NAMES)
def test_steps_are_reported_and_can_be_stopped(loaded: dict[str, Pretrained], name: str) -> None:
    calls: list[None] = []

    def on_step() -> None:
        calls.append(None)
        if len(calls) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        loaded[name].decode(torch.zeros(1, DIM), seeds=[0], num_inference_steps=4, on_step=on_step)
    assert len(calls) == 2


def test_kandinsky_reads_texts_each_as_alone(loaded: dict[str, Pretrained]) -> None:
    model = loaded["kandinsky-2.2"]
    assert card("kandinsky-2.2").architecture["reads_text"]
    both = model.encode_texts(["the cat", "a hat"])
    assert both.shape == (2, DIM) and not torch.allclose(both[0], both[1], atol=1e-4)
    assert torch.allclose(both[1], model.encode_texts(["a hat"])[0], atol=1e-4)


def test_kandinsky_is_guided_away_from_a_black_image(
    loaded: dict[str, Pretrained], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = KandinskyV22PriorPipeline.get_zero_embed

    def noted(pipeline: Any, batch_size: int = 1, device: Any = None) -> Any:
        asked.append(batch_size)
        return real(pipeline, batch_size, device)

    monkeypatch.setattr(KandinskyV22PriorPipeline, "get_zero_embed", noted)
    draw(loaded["kandinsky-2.2"], torch.zeros(3, DIM), [0, 1, 2])
    assert asked == [3]


@pytest.mark.parametrize("name", ["stable-unclip", "ip-adapter"])
def test_without_a_prior_there_is_no_text_start(loaded: dict[str, Pretrained], name: str) -> None:
    assert not card(name).architecture["reads_text"]
    with pytest.raises(NoTextStartError, match="no text start"):
        loaded[name].encode_texts(["a hat"])


@pytest.mark.parametrize("name", NAMES)
def test_all_parts_are_in_the_module(loaded: dict[str, Pretrained], name: str) -> None:
    # What moves to a GPU, and what its memory is counted by.
    stored = {part.split("/")[0] for part in card(name).files if part.endswith(".safetensors")}
    assert stored - {ADAPTER} == {"image_encoder", *loaded[name].parts}
    assert not any(value.requires_grad for value in loaded[name].image_encoder.parameters())
    if name == "ip-adapter":
        assert any("to_k_ip" in key for key in loaded[name].state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_or_tampered_file_is_refused(name: str, tmp_path: Path) -> None:
    tiny = lay_out(name, tmp_path)
    known = revision(tiny, tmp_path)
    path = tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match=rf"sha256 differs.*`python -m models.fetch {name}`"):
        load_model(tiny, tmp_path)
    path.unlink()
    with pytest.raises(WeightsError, match=rf"unet/.* not on this machine: run `python -m models.fetch {name}`"):
        load_model(tiny, tmp_path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    write_record(tiny, tmp_path)
    assert revision(tiny, tmp_path) != known


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was read",))


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_is_never_read(name: str, tmp_path: Path) -> None:
    tiny = lay_out(name, tmp_path)
    weights = [tmp_path / name / file for file in tiny.files if file.endswith(".safetensors")]
    for path in weights:  # a pickle beside each, under the name the libraries fall back to
        stem = "pytorch_model" if path.stem == "model" else path.stem
        (path.parent / f"{stem}.bin").write_bytes(pickle.dumps(Trap()))
    load_model(tiny, tmp_path)
    for path in (weights[0], weights[-1]):
        whole = path.read_bytes()
        path.write_bytes(pickle.dumps(Trap()))
        write_record(tiny, tmp_path)
        with pytest.raises(WeightsError, match=rf"Model {name} cannot be loaded"):
            load_model(tiny, tmp_path)
        path.write_bytes(whole)
    weights[0].unlink()  # only its pickle is left
    with pytest.raises(WeightsError, match="not on this machine"):
        load_model(tiny, tmp_path)
