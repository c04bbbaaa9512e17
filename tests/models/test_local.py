"""Models from files on this machine: one safetensors file and a folder, from an operator's card to an image."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from models.build import load_model
from models.catalogue import CHECKPOINT, RECORD, VAE, Card, cards, configuration, installed, own_cards, revision
from models.diffusion.text_to_image import load_text_to_image
from models.errors import WeightsError
from models.fetch import fetch
from models.local import configuration_files
from tests.models.diffusion.additions import save_controlnet, write_original
from tests.models.diffusion.single_file import write_checkpoint
from tests.models.diffusion.test_single_file import image_of
from tests.models.diffusion.test_text_to_image_full_size import save

TEXT: dict[str, Any] = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
# Millions of parameters as published: UNet, autoencoder, text encoders.
SIZES = {
    "stable-diffusion-1.5": {"unet": 859.52, "vae": 83.65, "text_encoder": 123.06},
    "stable-diffusion-2.1": {"unet": 865.91, "vae": 83.65, "text_encoder": 340.39},
    "sdxl": {"unet": 2567.46, "vae": 83.65, "text_encoder": 123.06, "text_encoder_2": 694.66},
}


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    save(tmp_path / "parts", False)
    return tmp_path / "parts"


def written(tmp_path: Path, **values: Any) -> Card:
    """A card as an operator writes it."""
    folder = tmp_path / "cards"
    folder.mkdir(exist_ok=True)
    shared = {"id": "own", "title": "Own", "license": "MIT", "task": "text-to-image", "base": "stable-diffusion-1.5"}
    every = {"image_size": 64, **shared, **values}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in every.items() if value is not None]
    (folder / "own.toml").write_text("".join(lines))
    [made] = own_cards(folder, cards()).values()
    return made


@pytest.fixture
def own(parts: Path, tmp_path: Path) -> Card:
    """The card of a tiny checkpoint."""
    path = tmp_path / "some model v1.safetensors"
    write_checkpoint(load_text_to_image(parts).pipeline, path, "stable-diffusion-1.5")
    return written(tmp_path, path=str(path), configuration=str(parts))


def test_a_controlnet_of_one_file_gets_the_configuration_of_its_base(parts: Path, tmp_path: Path) -> None:
    pipeline = load_text_to_image(parts).pipeline
    path, folder = tmp_path / "canny v1.safetensors", tmp_path / "edges"
    save_controlnet(pipeline, folder, (8, 8, 16, 16))
    write_original(folder, path, pipeline)
    weights_dir, card = tmp_path / "weights", {"task": "controlnet", "image_size": None, "path": str(path)}
    own = written(tmp_path, **card, configuration=str(folder))
    assert fetch(own, weights_dir) and installed(own, weights_dir)
    assert isinstance(load_model(own, weights_dir), ControlNetModel)
    shutil.rmtree(weights_dir)
    with pytest.raises(WeightsError, match="of the controlnet"):
        fetch(written(tmp_path, **card), weights_dir)
    assert fetch(written(tmp_path, **card | {"path": str(folder)}), weights_dir)


def test_a_checkpoint_is_fetched_recorded_and_loaded(own: Card, parts: Path, tmp_path: Path) -> None:
    weights_dir = tmp_path / "weights"
    with pytest.raises(WeightsError, match=r"run `python -m models\.fetch own`"):
        load_model(own, weights_dir)
    assert fetch(own, weights_dir) and not fetch(own, weights_dir)
    load_model(own, weights_dir)
    assert len(revision(own, weights_dir)) == 16
    assert torch.allclose(image_of(weights_dir / "own"), image_of(parts), atol=1e-5)
    assert "path" not in own.published()["source"] and "configuration" not in own.published()["source"]


def test_a_folder_is_fetched_recorded_and_loaded(parts: Path, tmp_path: Path) -> None:
    weights_dir, own = tmp_path / "weights", written(tmp_path, path=str(parts))
    assert fetch(own, weights_dir)
    load_model(own, weights_dir)
    assert torch.allclose(image_of(weights_dir / "own"), image_of(parts), atol=1e-5)
    (parts / "unet/config.json").unlink()
    (weights_dir / "own" / RECORD).unlink()
    with pytest.raises(WeightsError, match=r"parts/unet/config\.json cannot be copied \(No such file or directory\)"):
        fetch(own, weights_dir)


@pytest.mark.parametrize("names", ["checkpoint", "bare", "diffusers"])
@pytest.mark.parametrize("whole", [True, False], ids=["checkpoint", "folder"])
def test_another_autoencoder_decodes(names: str, whole: bool, own: Card, parts: Path, tmp_path: Path) -> None:
    pipeline, path = load_text_to_image(parts).pipeline, tmp_path / "other.safetensors"
    for value in pipeline.vae.state_dict().values():
        value.mul_(0.9)
    state = pipeline.vae.state_dict()
    if names != "diffusers":
        state = write_checkpoint(pipeline, path, "stable-diffusion-1.5")
        prefix = "first_stage_model."
        state = {k if names == "checkpoint" else k.removeprefix(prefix): v for k, v in state.items() if prefix in k}
    save_file(state, path)
    source = {"path": own.source["path"], "configuration": str(parts)} if whole else {"path": str(parts)}
    swapped, weights_dir = written(tmp_path, **source, vae=str(path)), tmp_path / "weights"
    assert fetch(swapped, weights_dir) and VAE in swapped.files and "vae" not in swapped.published()["source"]
    loaded: Any = load_model(swapped, weights_dir)
    assert all(torch.equal(v, loaded.vae.state_dict()[k]) for k, v in pipeline.vae.state_dict().items())
    assert not torch.allclose(image_of(weights_dir / "own"), image_of(parts), atol=1e-2)
    save_file({key: value for key, value in state.items() if "quant_conv" not in key}, path)
    with pytest.raises(WeightsError, match=r"vae\.safetensors lacks 4 tensors of the vae, such as quant_conv"):
        fetch(written(tmp_path, **source, vae=str(path), id="lacking"), weights_dir)


def test_a_damaged_checkpoint_is_named_and_fetched_again_when_it_is_whole(own: Card, tmp_path: Path) -> None:
    weights_dir, path = tmp_path / "weights", Path(own.source["path"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match=f"Model own cannot be loaded: {CHECKPOINT} is no whole safetensors file"):
        fetch(own, weights_dir)
    assert not installed(own, weights_dir)
    path.write_bytes(whole)
    assert fetch(own, weights_dir)
    stored = weights_dir / "own" / CHECKPOINT
    stored.write_bytes(whole[:-1] + b"!")
    with pytest.raises(WeightsError, match="sha256 differs"):
        load_model(own, weights_dir)


def test_a_checkpoint_of_another_base_is_refused(own: Card, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"lacks \d+ tensors of the unet, such as "):
        fetch(written(tmp_path, path=own.source["path"]), tmp_path / "weights")
    with pytest.raises(WeightsError, match="holds no text_encoder_2"):
        fetch(written(tmp_path, path=own.source["path"], base="sdxl"), tmp_path / "weights")


@pytest.mark.parametrize("base", SIZES)
def test_shipped_configurations_have_the_published_sizes(base: str, tmp_path: Path) -> None:
    values: dict[str, Any] = configuration(base)
    with torch.device("meta"):
        parts: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_config(values["unet/config.json"]),
            "vae": AutoencoderKL.from_config(values["vae/config.json"]),
        }
        for name in TEXT.keys() & SIZES[base].keys():
            parts[name] = TEXT[name](CLIPTextConfig(**values[f"{name}/config.json"]))
    sizes = {name: round(sum(p.numel() for p in part.parameters()) / 1e6, 2) for name, part in parts.items()}
    assert sizes == SIZES[base]


def test_the_shipped_tokenizer_gives_the_ids_of_clip(tmp_path: Path) -> None:
    texts = configuration_files("stable-diffusion-2.1", "epsilon")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / name).write_text(texts[f"tokenizer/{name}"], encoding="utf-8")
    tokenizer: Any = CLIPTokenizer.from_pretrained(tmp_path, local_files_only=True)
    ids = tokenizer(["a photo of a cat", "cat"], padding=True).input_ids
    assert ids == [[49406, 320, 1125, 539, 320, 2368, 49407], [49406, 2368, 49407, 0, 0, 0, 0]]
    assert tokenizer.model_max_length == 77
    assert json.loads(texts["scheduler/scheduler_config.json"])["prediction_type"] == "epsilon"
