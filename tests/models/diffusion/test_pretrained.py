"""The three full-size spaces at a tiny size: real classes, saved as they are published, laid out as fetched."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    KandinskyV22PriorPipeline,
    PNDMScheduler,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from models.build import load_model
from models.catalogue import RECORD, Card, card, file_sha256, revision
from models.clip import END, START, make_tokenizer
from models.diffusion.pretrained import ADAPTER, AT_ONCE, PRETRAINED, NoTextStartError, Pretrained
from models.errors import WeightsError
from models.space.space import space_of

NAMES = tuple(PRETRAINED)
DIM, SIZE, LENGTH, STEPS = 32, 16, 12, 2
NOISE: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
MERGES = ["a t", "h e"]


def save_vision(folder: Path) -> None:
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=24,
        patch_size=8,
        projection_dim=DIM,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")


def save_text(folder: Path, kind: Any) -> None:
    tokenizer: Any = make_tokenizer(MERGES)
    config = CLIPTextConfig(
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        projection_dim=DIM,
        max_position_embeddings=LENGTH,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind(config).save_pretrained(folder / "text_encoder")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    put(folder / "tokenizer/vocab.json", json.dumps(tokenizer.get_vocab()))
    put(folder / "tokenizer/merges.txt", "\n".join(["#version: 0.2", *MERGES]) + "\n")
    put(folder / "tokenizer/special_tokens_map.json", json.dumps(special))
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **special}
    put(folder / "tokenizer/tokenizer_config.json", json.dumps(settings))


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def save_processor(folder: Path) -> None:
    put(folder / "preprocessor_config.json", json.dumps({"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}))


def save_vae(folder: Path) -> None:
    vae: Any = AutoencoderKL(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    vae.save_pretrained(folder / "vae")


def save_scheduler(scheduler: Any, folder: Path) -> None:
    scheduler.save_pretrained(folder)


def unet(**arguments: Any) -> Any:
    return UNet2DConditionModel(
        sample_size=SIZE // 2,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        cross_attention_dim=32,
        **arguments,
    )


def save_kandinsky(folder: Path) -> None:
    model: Any = UNet2DConditionModel(
        sample_size=SIZE // 2,
        in_channels=4,
        out_channels=8,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=4,
        addition_embed_type="image",
        encoder_hid_dim_type="image_proj",
        encoder_hid_dim=DIM,
        cross_attention_dim=32,
    )
    movq: Any = VQModel(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=8,
        norm_type="spatial",
    )
    prior: Any = PriorTransformer(
        num_attention_heads=2, attention_head_dim=12, embedding_dim=DIM, num_embeddings=LENGTH, num_layers=1
    )
    prior.clip_std.data.fill_(1)  # drawn as 0, which would make all embeddings one
    model.save_pretrained(folder / "unet")
    movq.save_pretrained(folder / "movq")
    prior.save_pretrained(folder / "prior")
    save_vision(folder)
    save_text(folder, CLIPTextModelWithProjection)
    save_processor(folder / "image_processor")
    save_scheduler(DDPMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False), folder / "scheduler")
    drawing: dict[str, Any] = {
        "variance_type": "fixed_small_log",
        "prediction_type": "sample",
        "clip_sample_range": 5.0,
    }
    save_scheduler(UnCLIPScheduler(**drawing), folder / "prior_scheduler")


def save_stable_unclip(folder: Path) -> None:
    arguments = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 2 * DIM}
    unet(**arguments, use_linear_projection=True, upcast_attention=True).save_pretrained(folder / "unet")
    normalizer: Any = StableUnCLIPImageNormalizer(embedding_dim=DIM)
    normalizer.save_pretrained(folder / "image_normalizer")
    save_vae(folder)
    save_vision(folder)
    save_text(folder, CLIPTextModel)
    save_processor(folder / "feature_extractor")
    save_scheduler(DDPMScheduler(beta_schedule="squaredcos_cap_v2"), folder / "image_noising_scheduler")
    noise = {**NOISE, "prediction_type": "v_prediction", "skip_prk_steps": True}
    save_scheduler(PNDMScheduler(**noise), folder / "scheduler")


def save_ip_adapter(folder: Path) -> None:
    model = unet()
    model.save_pretrained(folder / "unet")
    save_vae(folder)
    save_vision(folder)
    save_text(folder, CLIPTextModel)
    save_scheduler(PNDMScheduler(**{**NOISE, "skip_prk_steps": True}), folder / "scheduler")
    state = {
        "image_proj.proj.weight": torch.randn(4 * 32, DIM) / 4,  # four tokens
        "image_proj.proj.bias": torch.zeros(4 * 32),
        "image_proj.norm.weight": torch.ones(32),
        "image_proj.norm.bias": torch.zeros(32),
    }
    crossing = [name.removesuffix(".processor") for name in model.attn_processors if "attn2" in name]
    for i, name in enumerate(crossing):
        for part in ("to_k_ip", "to_v_ip"):
            width = model.get_submodule(name).to_k.out_features
            state[f"ip_adapter.{2 * i + 1}.{part}.weight"] = torch.randn(width, 32)
    save_file(state, folder / ADAPTER)


SAVERS: dict[str, Callable[[Path], None]] = {
    "kandinsky-2.2": save_kandinsky,
    "stable-unclip": save_stable_unclip,
    "ip-adapter": save_ip_adapter,
}


def lay_out(name: str, weights_dir: Path) -> Card:
    """A tiny model in the files that the real card names, and no other; with the record that a fetch leaves."""
    torch.manual_seed(0)
    real = card(name)
    tiny = replace(real, architecture={**real.architecture, "image_size": SIZE})
    folder = weights_dir / name
    folder.mkdir(parents=True)
    SAVERS[name](folder)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in tiny.files:
            path.unlink()
    write_record(tiny, weights_dir)
    return tiny


def write_record(tiny: Card, weights_dir: Path) -> None:
    folder = weights_dir / tiny.id
    hashes = {file: file_sha256(folder / file) for file in tiny.files}
    (folder / RECORD).write_text(json.dumps({"source": tiny.source, "commits": {}, "files": hashes}))


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
