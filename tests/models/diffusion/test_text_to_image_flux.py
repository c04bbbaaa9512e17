"""FLUX: a tiny instance of its very classes, laid out in the files, sharded ones too, that its card names."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, T5Config, T5EncoderModel, T5Tokenizer

from models.build import load_model
from models.catalogue import RECORD, Card, card, file_sha256
from models.clip import make_tokenizer
from models.diffusion.prompts import reads_weights
from models.diffusion.text_to_image import T5_LENGTH, TextToImageModel, cut_off, generate, preview
from tests.models.diffusion.test_text_to_image_full_size import LENGTH, text_encoder


def shard(path: Path, n: int) -> None:
    """Split a safetensors file as large ones are published, with an index."""
    whole = load_file(path)
    names = sorted(whole)
    files = {name: f"{path.stem}-{1 + i * n // len(names):05}-of-{n:05}.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: whole[name] for name in names if files[name] == file}, path.parent / file, {"format": "pt"})
    path.unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (path.parent / f"{path.name}.index.json").write_text(json.dumps(index))


def save(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer: Any = make_tokenizer(["h a", "ha t</w>"])
    tokenizer.model_max_length = LENGTH
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁a", -1.0), ("▁hat", -1.0), ("▁man", -1.0), ("▁", -2.0)]
    pipeline: Any = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKL(
            block_out_channels=(32,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            sample_size=1024,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.1,
            scaling_factor=0.4,
        ),
        text_encoder=text_encoder(CLIPTextModel, tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(T5Config(vocab_size=8, d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2)),
        tokenizer_2=T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
    )
    pipeline.save_pretrained(folder)
    (folder / "tokenizer/vocab.json").write_text(json.dumps(tokenizer.get_vocab()))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\nh a\nha t</w>\n")
    for part in ("tokenizer", "tokenizer_2"):
        config = (folder / part / "tokenizer_config.json").read_text()
        (folder / part / "special_tokens_map.json").write_text(config)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace('"T5Tokenizer"', '"T5TokenizerFast"'))  # as it was published
    shard(folder / "transformer/diffusion_pytorch_model.safetensors", 3)
    shard(folder / "text_encoder_2/model.safetensors", 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TextToImageModel:
    found, weights_dir = card("flux-schnell"), tmp_path_factory.mktemp("weights")
    folder = weights_dir / found.id
    save(folder)
    hashes = {name: file_sha256(folder / name) for name in found.files}
    (folder / RECORD).write_text(json.dumps({"source": found.source, "files": hashes}))
    loaded = load_model(found, weights_dir)
    assert isinstance(loaded, TextToImageModel)
    return loaded


def made(model: TextToImageModel, prompts: list[str], seeds: list[int], **more: Any) -> Tensor:
    size: dict[str, Any] = {"width": 48, "height": 32, "num_inference_steps": 4, "guidance_scale": 0.0}
    with torch.inference_mode():
        return generate(model, prompts, seeds=seeds, **size, **more)


def test_its_card() -> None:
    found: Card = card("flux-schnell")
    [part] = found.source["repositories"].values()
    assert part["files"].keys() == found.files.keys() and len(part["revision"]) == 40
    assert found.license == "Apache-2.0" and found.architecture["schedulers"] == []


def test_images_are_the_same_alone_and_previews_have_their_shape(model: TextToImageModel) -> None:
    taken: list[tuple[int, Tensor]] = []
    both = made(model, ["a hat", "a man"], [1, 2], on_step=lambda step, latents: taken.append((step, latents)))
    assert both.shape == (2, 3, 32, 48) and torch.isfinite(both).all()
    assert (both[1:] - made(model, ["a man"], [2])).abs().max() < 1e-3 < (both[0] - both[1]).abs().max()
    assert [step for step, _ in taken] == [1, 2, 3, 4]
    assert preview(taken[0][1], model.latent_colors).shape == (2, 3, 4, 6)


@pytest.mark.parametrize(("strength", "steps"), [(0.3, 1), (0.6, 2), (1.0, 4)])
def test_a_image_to_start_from_takes_as_many_steps_as_announced(
    model: TextToImageModel, strength: float, steps: int
) -> None:
    image, taken = torch.rand(1, 3, 32, 48), []
    found = made(model, ["a hat"], [1], images=image, strength=strength, on_step=lambda step, _: taken.append(step))
    assert found.shape == (1, 3, 32, 48) and len(taken) == steps


def test_inpainting_keeps_what_the_mask_leaves_out(model: TextToImageModel) -> None:
    image, mask = torch.rand(1, 3, 32, 48), torch.zeros(1, 1, 32, 48)
    mask[..., :16] = 1
    kept = made(model, ["a hat"], [1], images=image, masks=mask, strength=1.0)
    assert torch.equal(kept[..., 16:], image[..., 16:]) and not torch.equal(kept[..., :16], image[..., :16])


def test_it_reads_words_and_no_weights(model: TextToImageModel) -> None:
    assert not reads_weights(model.pipeline)
    assert made(model, ["a (hat)1.4"], [1]).shape == (1, 3, 32, 48)
    assert cut_off(model, "hat " * (T5_LENGTH - 1)) == ""
    assert cut_off(model, "hat " * (T5_LENGTH + 1)).split() == ["hat", "hat"]
