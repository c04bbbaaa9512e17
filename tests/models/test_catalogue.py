import hashlib
import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from models.catalogue import (
    RECORD,
    Card,
    CardError,
    base_of,
    card,
    card_of,
    cards,
    checked_file,
    installed,
    own_cards,
    revision,
)
from models.errors import WeightsError

PRETRAINED = ("ip-adapter", "kandinsky-2.2", "stable-unclip")
# See tests/models/diffusion/test_text_to_image_full_size and test_text_to_image_flux.
OF_TEXTS = ("flux-schnell", "sd-turbo", "sdxl", "sdxl-turbo", "stable-diffusion-1.5")


def small_card(data: bytes, **changes: object) -> Card:
    made = Card(
        id="small",
        task="test",
        title="Small",
        description="A file of a few bytes.",
        license="CC0-1.0",
        source={"kind": "wheel"},
        files={"a.bin": hashlib.sha256(data).hexdigest()},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def put(folder: Path, data: bytes) -> Path:
    path = folder / "small" / "a.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_the_catalogue_loads_neither_torch_nor_onnxruntime() -> None:
    code = "import sys, models.catalogue as c; c.cards(); print({'torch', 'onnxruntime', 'numpy'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_every_card_is_complete() -> None:
    fetched = {name for name, found in cards().items() if found.source["kind"] != "trained"}
    assert fetched == {
        "fast-arbitrary",
        "fast-multistyle",
        "vgg16",
        "vgg19",
        "efficientnet-lite0",
        "open-nsfw",
        "realesr-animevideov3",
        "realesrgan-x4plus",
        "realesrgan-x4plus-anime",
        *PRETRAINED,
        *OF_TEXTS,
    }
    for model_id, each in cards().items():
        assert each.id == model_id
        assert each.title and each.description and each.license and each.files
        assert each.source["kind"] in ("url", "hub") or all(len(sha256 or "") == 64 for sha256 in each.files.values())


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_card_of_the_hub_says_where_each_file_comes_from_and_only_json_and_safetensors_do(name: str) -> None:
    found = card(name)
    parts = found.source["repositories"].values()
    assert sorted(file for part in parts for file in part["files"]) == sorted(found.files)
    assert all(re.fullmatch("[0-9a-f]{40}", part["revision"] or "0" * 40) for part in parts)
    assert all(file.endswith((".json", ".safetensors", "merges.txt")) for file in found.files)
    assert found.task == "embedding-to-image" and found.architecture["name"] == name
    assert found.architecture.keys() == {"name", "image_size", "channels", "reads_text", "projection_dim"}
    assert found.fetch_command == f"python -m models.fetch {name}"


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with pytest.raises(WeightsError, match=r"'vgg11'; there are .*fast-arbitrary, .*vgg19") as caught:
        card("vgg11")
    assert caught.value.model_id == "vgg11"


def test_a_whole_file_is_accepted(tmp_path: Path) -> None:
    path = put(tmp_path, b"whole")
    assert installed(small_card(b"whole"), tmp_path)
    assert checked_file(small_card(b"whole"), "a.bin", tmp_path) == path


def test_a_missing_file_names_the_model_and_the_command(tmp_path: Path) -> None:
    assert not installed(small_card(b""), tmp_path)
    with pytest.raises(WeightsError, match=r"model small .* `python -m models.fetch small`") as caught:
        checked_file(small_card(b""), "a.bin", tmp_path)
    assert caught.value.model_id == "small"


def test_a_file_the_card_does_not_name_is_refused(tmp_path: Path) -> None:
    put(tmp_path, b"whole")
    with pytest.raises(WeightsError):
        checked_file(small_card(b"whole"), "../small/a.bin", tmp_path)


def test_a_tampered_file_is_refused_even_after_it_was_accepted(tmp_path: Path) -> None:
    path = put(tmp_path, b"whole")
    checked_file(small_card(b"whole"), "a.bin", tmp_path)
    path.write_bytes(b"whale")
    with pytest.raises(WeightsError, match="sha256 differs") as error:
        checked_file(small_card(b"whole"), "a.bin", tmp_path)
    print(f"S3: a tampered file: {error.value}")


def test_a_card_without_hash_is_refused(tmp_path: Path) -> None:
    put(tmp_path, b"whole")
    without = small_card(b"", files={"a.bin": None})
    with pytest.raises(WeightsError, match="no known sha256") as error:
        checked_file(without, "a.bin", tmp_path)
    print(f"S3: a card without hash: {error.value}")


@pytest.mark.parametrize("kind, accepted", [("url", True), ("hub", True), ("wheel", False)])
def test_a_recorded_hash_counts_for_downloads_only(tmp_path: Path, kind: str, accepted: bool) -> None:
    path = put(tmp_path, b"whole")
    made = small_card(b"", source={"kind": kind}, files={"a.bin": None})
    record = {"source": made.source, "files": {"a.bin": hashlib.sha256(b"whole").hexdigest()}}
    (path.parent / RECORD).write_text(json.dumps(record))
    if accepted:
        assert checked_file(made, "a.bin", tmp_path) == path
    else:
        with pytest.raises(WeightsError):
            checked_file(made, "a.bin", tmp_path)


def test_a_hash_recorded_for_another_source_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, b"whole")
    made = small_card(b"", source={"kind": "url", "sha256_prefix": "aa"}, files={"a.bin": None})
    record = {"source": {"kind": "url"}, "files": {"a.bin": hashlib.sha256(b"whole").hexdigest()}}
    (path.parent / RECORD).write_text(json.dumps(record))
    with pytest.raises(WeightsError):
        checked_file(made, "a.bin", tmp_path)


def test_a_file_in_a_folder_is_checked_like_any(tmp_path: Path) -> None:
    path = tmp_path / "small" / "unet" / "a.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"whole")
    made = small_card(b"", files={"unet/a.bin": hashlib.sha256(b"whole").hexdigest()})
    assert installed(made, tmp_path) and checked_file(made, "unet/a.bin", tmp_path) == path
    path.write_bytes(b"whale")
    with pytest.raises(WeightsError, match="sha256 differs"):
        checked_file(made, "unet/a.bin", tmp_path)


def test_a_revision_is_the_hash_of_one_file_or_of_all_their_hashes(tmp_path: Path) -> None:
    one = small_card(b"whole")
    assert revision(one, tmp_path) == str(one.files["a.bin"])[:16]
    two, other = ({"a.bin": "00", "b.bin": last} for last in ("11", "12"))
    found = [revision(small_card(b"", files=files), tmp_path) for files in (two, dict(reversed(two.items())), other)]
    assert found[0] == found[1] != found[2] and len(found[2]) == 16


COMMIT = "0123456789" * 4
MODEL = {
    **{"id": "mine", "title": "Mine", "license": "MIT", "task": "text-to-image", "repository": "me/mine"},
    **{"revision": COMMIT, "base": "stable-diffusion-1.5", "image_size": 512},
}
OWN = {**MODEL, "path": "/models/a.safetensors", "repository": None, "revision": None}
LORA = {
    **{"id": "ink", "title": "Ink", "license": "MIT", "task": "lora", "base": "mine-too"},
    **{"files": ["ink.safetensors"]},
}


def written(folder: Path, name: str, **values: object) -> Path:
    """A card as an operator writes it; what is None is left out."""
    path = folder / f"{name}.toml"
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items() if value is not None))
    return path


def toml(value: object) -> str:
    inner = value.items() if isinstance(value, dict) else ()
    return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in inner) + "}" if inner else json.dumps(value)


def test_the_operators_cards_are_models_like_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "a", **MODEL)
    turbo = {"guided": False, "num_inference_steps": 1, "schedulers": ["euler"]}
    files = {"model_index.json": "model_index.json", "unet/a.safetensors": "unet/a.fp16.safetensors"}
    written(tmp_path, "b", **MODEL | {"id": "mine.too", "base": "mine-too", "files": files, "defaults": turbo})
    written(tmp_path, "c", **LORA)
    written(tmp_path, "d", **LORA | {"id": "cat", "task": "textual-inversion", "token": "<cat>"})
    one = {"files": None, "path": "/models/edges.safetensors", "base": "sdxl"}
    written(tmp_path, "f", **LORA | {"id": "edges", "task": "controlnet", **one})
    written(tmp_path, "g", **LORA | {"id": "adapter", "task": "ip-adapter", "files": None, "path": "/models/adapter"})
    written(tmp_path, "e", **LORA | {"id": "dog", "task": "textual-inversion"})
    monkeypatch.setenv("ATELIER_CARDS_DIR", str(tmp_path))
    found = cards.__wrapped__()
    assert {"mine", "mine.too", "ink", "vgg16"} <= found.keys() and list(found) == sorted(found)
    mine, too, ink = found["mine"], found["mine.too"], found["ink"]
    assert mine.files == card("stable-diffusion-1.5").files
    assert mine.source["repositories"]["me/mine"] == {"revision": COMMIT, "files": {name: name for name in mine.files}}
    assert mine.architecture == {
        **{"name": "diffusers", "base": "stable-diffusion-1.5", "channels": 3, "image_size": 512},
        **{"num_inference_steps": 25, "guidance_scale": 7.5},
    }
    assert too.source["repositories"]["me/mine"]["files"] == files
    assert too.architecture.items() >= turbo.items() and "guidance_scale" not in too.architecture
    assert too.architecture["schedulers"] == ["euler"] and "scheduler" not in too.architecture
    assert (ink.source, ink.architecture) == ({"kind": "local"}, {"name": "lora", "base": "mine-too"})
    assert (base_of(mine), base_of(too), base_of(ink)) == ("stable-diffusion-1.5", "mine-too", "mine-too")
    assert ink.fetch_command == "python -m models.fetch ink"
    assert [*found["edges"].files] == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert found["adapter"].architecture == {"name": "image-prompt", "base": "mine-too"}
    assert "image_encoder/model.safetensors" in found["adapter"].files
    words = [found[name].architecture for name in ("cat", "dog")]
    assert words == [{"name": "textual-inversion", "base": "mine-too", "token": each} for each in ("<cat>", "dog")]


def test_schedulers_of_an_operators_card(tmp_path: Path) -> None:
    written(tmp_path, "a", **MODEL | {"defaults": {"scheduler": "dpm++ 2m karras"}})
    written(tmp_path, "b", **MODEL | {"id": "old", "defaults": {"schedulers": ["dpm-solver++", "euler"]}})
    flow = {"id": "flow", "base": "flux", "files": ["model_index.json"], "defaults": {"guided": False}}
    written(tmp_path, "c", **MODEL | flow)
    found = {name: each.architecture for name, each in own_cards(tmp_path, cards()).items()}
    assert found["mine"]["scheduler"] == "dpm++ 2m karras" and "schedulers" not in found["mine"]
    assert found["old"]["schedulers"] == ["dpm-solver++", "euler"] and "clip" not in found["old"]
    assert (found["flow"]["schedulers"], found["flow"]["clip"]) == ([], False)


def test_the_earlier_spelling_of_license_is_read(tmp_path: Path) -> None:
    written(tmp_path, "a", **{"licence" if key == "license" else key: value for key, value in MODEL.items()})
    assert own_cards(tmp_path, cards())["mine"].license == "MIT"
    stored = asdict(small_card(b"whole"))
    assert card_of({**stored, "licence": stored.pop("license")}) == small_card(b"whole")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (MODEL | {"id": "sdxl"}, "id: There is a model 'sdxl' already"),
        (MODEL | {"id": "../up"}, "id: String should match pattern"),
        (MODEL | {"title": None}, "title: Field required"),
        (MODEL | {"revision": "main"}, "revision: String should match pattern"),
        (MODEL | {"revision": None}, "revision: goes with repository: the commit, 40 hex digits"),
        (
            MODEL | {"repository": None, "revision": None},
            "repository: or another source is needed for task 'text-to-image'",
        ),
        (MODEL | {"path": "/a"}, "repository: must be left out: the card has a path"),
        (OWN | {"path": "a.safetensors"}, "path: String should match pattern"),
        (OWN | {"path": "/a.ckpt"}, "path: must be a folder or a .safetensors file: a pickle is never read"),
        (OWN | {"base": "flux"}, "base: must name the layout of the file: sdxl, stable-diffusion-1.5, stable-diff"),
        (OWN | {"files": ["a.json"]}, "files: must be left out: the path is one file"),
        (OWN | {"path": "/a", "configuration": "/b"}, "configuration: goes with one .safetensors file"),
        (OWN | {"path": "/a", "prediction_type": "epsilon"}, "prediction_type: goes with one .safetensors"),
        (OWN | {"configuration": "/b", "prediction_type": "epsilon"}, "prediction_type: must be left out: "),
        (OWN | {"vae": "/b.pt"}, "vae: String should match pattern"),
        (MODEL | {"vae": "/b.safetensors"}, "vae: goes with a path"),
        (LORA | {"path": "/ink.safetensors"}, "files: must be left out: the path is one file"),
        (LORA | {"path": "/ink", "files": None}, "path: must be a .safetensors file for task 'lora'"),
        (MODEL | {"url": "https://a.example/a"}, "repository: must be left out: the card has a url"),
        (MODEL | {"sha256": "0" * 64}, "sha256: goes with url"),
        (MODEL | {"repository": "https://x.example/a"}, "repository: String should match pattern"),
        (MODEL | {"image_size": "512"}, "image_size: Input should be a valid integer"),
        (MODEL | {"image_size": None}, "image_size: is needed for task 'text-to-image'"),
        (MODEL | {"task": "style"}, "task: Input should be 'text-to-image', 'lora'"),
        (MODEL | {"token": "<x>"}, "token: goes with task 'textual-inversion'"),
        (LORA | {"task": "upscaling"}, "base: must be left out for task 'upscaling'"),
        (LORA | {"task": "textual-inversion", "token": "a b"}, "token: String should match pattern"),
        (MODEL | {"color": "red"}, "color: Extra inputs are not permitted"),
        (MODEL | {"defaults": {"steps": 3}}, "defaults.steps: Extra inputs are not permitted"),
        (MODEL | {"defaults": {"schedulers": ["plms"]}}, "defaults.schedulers.0: must be one of ddim, ddpm, pndm, "),
        (MODEL | {"defaults": {"scheduler": "a"}}, "defaults.scheduler: must be one of ddim, "),
        (
            MODEL | {"defaults": {"scheduler": "heun", "schedulers": ["euler"]}},
            "defaults.schedulers: must have the default scheduler, 'heun'",
        ),
        (MODEL | {"base": None}, "files: They are needed, as base names no full-size model"),
        (MODEL | {"files": ["model_index.json", "unet/a.bin"]}, "files.unet/a.bin"),
        (MODEL | {"files": ["../a.json"]}, "files.../a.json"),
        (LORA, "base: There is no base 'mine-too'; there are flux, sdxl, stable-diffusion-1.5"),
        (LORA | {"task": "controlnet", "files": None, "path": "/a.safetensors"}, "base: must name the layout"),
        (LORA | {"task": "ip-adapter", "files": None, "path": "/a.safetensors"}, "repository: is needed: an IP"),
        (LORA | {"base": None}, "base: is needed for task 'lora'"),
        (LORA | {"files": ["a.json"]}, "files: must be one .safetensors file for task 'lora'"),
        (LORA | {"files": None}, "files: must be one .safetensors file for task 'lora'"),
        (LORA | {"image_size": 512}, "image_size: must be left out for task 'lora': it is that of the base"),
    ],
)
def test_a_card_that_cannot_be_used_names_its_file_and_key(
    values: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "bad", **values)
    with pytest.raises(CardError) as caught:
        own_cards(tmp_path, cards())
    assert str(caught.value).startswith(f"{path}: {message}")


def test_what_is_no_toml_and_an_id_taken_twice(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("id = ")
    with pytest.raises(CardError, match=r"a\.toml: is not a TOML file: "):
        own_cards(tmp_path, cards())
    written(tmp_path, "a", **MODEL)
    written(tmp_path, "b", **MODEL)
    with pytest.raises(CardError, match=r"b\.toml: id: There is a model 'mine' already"):
        own_cards(tmp_path, cards())
    assert own_cards(tmp_path / "none", cards()) == {}
