"""Full-size text-to-image models: tiny instances of their very classes, laid out as their cards name the files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from models.build import load_model
from models.catalogue import RECORD, Card, card, file_sha256
from models.clip import make_tokenizer
from models.diffusion.schedulers import SCHEDULERS
from models.diffusion.text_to_image import TextToImageModel, cut_off, generate
from models.errors import WeightsError

NAMES = ("stable-diffusion-1.5", "sdxl", "sd-turbo", "sdxl-turbo")
LENGTH = 8


def default_scheduler(found: Card) -> str:
    return str(found.architecture.get("scheduler") or found.architecture["schedulers"][0])


def text_encoder(kind: Any, tokenizer: Any, hidden_size: int = 32) -> Any:
    config = CLIPTextConfig(
        hidden_size=hidden_size,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=32,
        max_position_embeddings=LENGTH,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return kind(config)


def unet(cross_attention_dim: int, **more: Any) -> Any:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=cross_attention_dim,
        **more,
    )


def save(folder: Path, xl: bool) -> None:
    torch.manual_seed(0)
    tokenizer: Any = make_tokenizer(["h a", "ha t</w>"])
    tokenizer.model_max_length = LENGTH
    vae: Any = AutoencoderKL(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    noise: Any = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    shared: dict[str, Any] = {"vae": vae, "tokenizer": tokenizer, "scheduler": EulerDiscreteScheduler(**noise)}
    shared["text_encoder"] = text_encoder(CLIPTextModel, tokenizer)
    pipeline: Any
    if xl:
        added = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 32 + 6 * 8,
        }
        second = {"text_encoder_2": text_encoder(CLIPTextModelWithProjection, tokenizer, 64), "tokenizer_2": tokenizer}
        pipeline = StableDiffusionXLPipeline(unet=unet(32 + 64, **added), **shared, **second)
    else:
        pipeline = StableDiffusionPipeline(
            unet=unet(32), **shared, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipeline.save_pretrained(folder)
    for part in ("tokenizer", "tokenizer_2")[: 1 + xl]:  # in the files the hub has
        path = folder / part
        (path / "vocab.json").write_text(json.dumps(tokenizer.get_vocab()))
        (path / "merges.txt").write_text("#version: 0.2\nh a\nha t</w>\n")
        (path / "special_tokens_map.json").write_text((path / "tokenizer_config.json").read_text())


@pytest.fixture(scope="module", params=NAMES)
def fetched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Card, Path]:
    """A card, and a folder in which its files lie as after a fetch, but tiny."""
    found, weights_dir = card(request.param), tmp_path_factory.mktemp("weights")
    folder = weights_dir / found.id
    save(folder, "text_encoder_2/config.json" in found.files)
    hashes = {name: file_sha256(folder / name) for name in found.files}
    (folder / RECORD).write_text(json.dumps({"source": found.source, "files": hashes}))
    return found, weights_dir


def test_a_card_names_what_a_request_needs_and_where_each_file_comes_from(fetched: tuple[Card, Path]) -> None:
    found, _ = fetched
    [part] = found.source["repositories"].values()
    assert part["files"].keys() == found.files.keys() and len(part["revision"]) == 40
    assert found.task == "text-to-image" and found.architecture["name"] == "diffusers"
    assert default_scheduler(found) in SCHEDULERS
    assert ("guidance_scale" in found.architecture) == found.architecture.get("guided", True)
    assert all(name.endswith((".json", ".safetensors", "merges.txt")) for name in found.files)


def test_it_is_loaded_from_just_those_files_and_makes_images(fetched: tuple[Card, Path]) -> None:
    found, weights_dir = fetched
    model = load_model(found, weights_dir)
    assert isinstance(model, TextToImageModel)
    guided = found.architecture.get("guided", True)

    def made(prompts: list[str], seeds: list[int], **more: Any) -> Tensor:
        size: dict[str, Any] = {
            "width": 32,
            "height": 32,
            "num_inference_steps": 2,
            "scheduler": default_scheduler(found),
        }
        negative = {"negative_prompts": ["fog"] * len(prompts)} if guided else {"guidance_scale": 0.0}
        with torch.inference_mode():
            return generate(model, prompts, seeds=seeds, **size, **negative, **more)

    both = made(["a hat", "no hat"], [1, 2])
    assert both.shape == (2, 3, 32, 32)
    assert (both[1:] - made(["no hat"], [2])).abs().max() < 1e-3
    image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    assert made(["a hat"], [1], images=image, strength=0.5).shape == (1, 3, 32, 32)
    kept = made(["a hat"], [1], images=image, masks=mask, strength=1.0)
    assert torch.equal(kept[..., 16:], image[..., 16:]) and not torch.equal(kept[..., :16], image[..., :16])
    assert cut_off(model, "hat " * 8) == ""
    assert model.latent_colors.shape == (5, 3)


def test_one_that_was_not_fetched_or_is_damaged_says_so(fetched: tuple[Card, Path], tmp_path: Path) -> None:
    found, weights_dir = fetched
    with pytest.raises(WeightsError, match=f"python -m models.fetch {found.id}"):
        load_model(found, tmp_path)
    config = weights_dir / found.id / "unet/config.json"
    whole = config.read_text()
    config.write_text(whole.replace("32", "64"))
    with pytest.raises(WeightsError, match="sha256 differs"):
        load_model(found, weights_dir)
    config.write_text(whole)
