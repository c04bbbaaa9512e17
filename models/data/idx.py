"""IDX files (LeCun's format), and the two sets that come in them: MNIST and Fashion-MNIST.

An IDX file is two zero bytes, a byte for the type, a byte for the number of dimensions, each dimension as a big-endian
uint32, then the values, big-endian in C order: yann.lecun.com/exdb/mnist.
"""

import gzip
import hashlib
import io
import math
import tempfile
import urllib.request
import zlib
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import Dataset
from models.errors import DataError

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 8
MAX_BYTES = 1 << 30  # of values, by the declared dimensions: a gz file of 1 MB can expand to a thousand

Name = Literal["mnist", "fashion-mnist"]
Split = Literal["train", "test"]

STEMS: dict[Split, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
LABEL_NAMES: dict[Name, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # where the package dataset-fashion-mnist installs its files
SOURCES: dict[Name, str] = {
    "mnist": "Several mirrors of MNIST have these files",
    "fashion-mnist": "Debian's package dataset-fashion-mnist installs them, and download_fashion_mnist downloads them",
}

FASHION_MNIST_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
FASHION_MNIST_SHA256 = {  # of the IDX files, not of their gz files: Debian's differ from the authors' in the header
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_Bytes = IO[bytes] | gzip.GzipFile

_MAX_DOWNLOAD_BYTES = 64 << 20  # the largest file has 26 MB compressed and 47 MB uncompressed


def read_idx(source: bytes | Path) -> NDArray[Any]:
    """Reads the array of an IDX file, gz or plain: any of `DTYPES` in native byte order, 1 to 8 dimensions.

    Raises DataError, naming the file, for another magic number, too few or too many bytes, and dimensions that
    declare more than `MAX_BYTES`.
    """
    name = source.name if isinstance(source, Path) else "IDX data"
    try:
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as raw:
            return _read_array(_plain(raw))
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} cannot be read to its end ({error})") from error


def idx_dataset(name: Name, split: Split, folder: Path | None = None) -> Dataset:
    """Reads MNIST or Fashion-MNIST, (60000 or 10000, 28, 28, 1) with ten labels, from IDX files, gz or plain.

    The files are looked for in `folder`, in its sub-folder `name`, and for Fashion-MNIST where Debian installs them.
    Raises DataError, naming the files and their sources, where they are missing or invalid.
    """
    images_path, labels_path = _find(name, split, folder)
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.ndim != 3:
        raise DataError(f"{images_path.name} must hold uint8 of shape (n, h, w), not {images.dtype} {images.shape}")
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise DataError(f"{labels_path.name} must hold {len(images)} uint8, not {labels.dtype} {labels.shape}")
    if labels.max(initial=0) >= len(LABEL_NAMES[name]):
        raise DataError(f"{labels_path.name} holds label {labels.max()}; they run from 0 to 9")
    return Dataset(images[..., None], labels=labels.astype(np.int64), label_names=LABEL_NAMES[name])


def download_fashion_mnist(folder: Path, url: str = FASHION_MNIST_URL) -> None:
    """Downloads the four IDX files over https to `folder`, uncompressed; complete files are kept.

    Raises DataError, and stores nothing of that file, if it cannot be downloaded or has an unexpected sha256.
    """
    if not url.startswith("https://"):
        raise ValueError(f"url must start with https://, got {url}")
    folder.mkdir(parents=True, exist_ok=True)
    for stem, sha256 in FASHION_MNIST_SHA256.items():
        path = folder / stem
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            continue
        data = _fetch(f"{url}/{stem}.gz")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DataError(f"{stem} has another sha256 than Fashion-MNIST's and was not stored")
        _write_whole(path, data)


def _plain(raw: IO[bytes]) -> _Bytes:
    start = raw.read(2)
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if start == b"\x1f\x8b" else raw


def _read_array(file: _Bytes) -> NDArray[Any]:
    dtype, shape = _read_header(file)
    size = math.prod(shape) * dtype.itemsize
    data = file.read(size + 1)  # one more than expected: gz verifies its checksum only at the end
    if len(data) < size:
        raise DataError(f"{len(data)} bytes of values; the dimensions {shape} need {size}")
    if len(data) > size:
        raise DataError(f"bytes follow the {size} that the dimensions {shape} need")
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")).reshape(shape)


def _read_header(file: _Bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        raise DataError(f"not an IDX file: it starts with 0x{magic.hex()}, not with a magic number such as 0x00000803")
    if not 1 <= magic[3] <= MAX_DIMENSIONS:
        raise DataError(f"{magic[3]} dimensions; 1 to {MAX_DIMENSIONS} can be read")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"the file ends within its {magic[3]} dimensions")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    dtype = np.dtype(DTYPES[magic[2]])
    # A dimension of 0 must not hide others whose product overflows.
    if math.prod(max(side, 1) for side in shape) * dtype.itemsize > MAX_BYTES:
        raise DataError(f"the dimensions {shape} declare more than {MAX_BYTES} bytes")
    return dtype, shape


def _find(name: Name, split: Split, folder: Path | None) -> tuple[Path, Path]:
    """Returns the files of the images and labels of a split, both from one folder."""
    if name not in LABEL_NAMES or split not in STEMS:
        raise ValueError(f"name must be mnist or fashion-mnist and split train or test, got {name!r} and {split!r}")
    places = [folder, folder / name] if folder else []
    places += [DEBIAN_FOLDER] if name == "fashion-mnist" else []
    for place in places:
        images, labels = (_existing(place, stem) for stem in STEMS[split])
        if images and labels:
            return images, labels
    wanted = ", ".join(stem for stems in STEMS.values() for stem in stems)
    looked = f"not both in {', '.join(str(place) for place in places)}" if places else "no folder was given"
    raise DataError(f"{name} {split} is read from {wanted} (each may end in .gz): {looked}. {SOURCES[name]}.")


def _existing(place: Path, stem: str) -> Path | None:
    """Returns the file by its name, or with a dot instead of a hyphen, as on some mirrors."""
    spellings = [stem, stem.replace("-idx", ".idx")]
    paths = [place / f"{spelling}{suffix}" for spelling in spellings for suffix in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def _fetch(url: str) -> bytes:
    """Downloads and decompresses a gz file; redirects are not followed, so that https stays https."""
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPSHandler, urllib.request.HTTPErrorProcessor):
        opener.add_handler(handler())
    opener.add_handler(urllib.request.HTTPDefaultErrorHandler())
    try:
        with opener.open(url, timeout=30) as response, gzip.GzipFile(fileobj=response) as file:
            return file.read(_MAX_DOWNLOAD_BYTES)
    except (OSError, EOFError, zlib.error) as error:  # URLError is an OSError
        raise DataError(f"{url} cannot be downloaded ({getattr(error, 'reason', error)})") from error


def _write_whole(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".fetch-", delete=False) as file:
        file.write(data)
    part = Path(file.name)
    part.chmod(0o644)  # readable for workers that run as another user
    part.replace(path)
