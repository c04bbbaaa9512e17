"""The full-size spaces at a tiny size: real classes, saved in the files that the real cards name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    PNDMScheduler,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from models.catalogue import RECORD, Card, card, file_sha256
from models.clip import END, START, make_tokenizer
from models.diffusion.pretrained import ADAPTER, PRETRAINED

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
