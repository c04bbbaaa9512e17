import gzip
import http.server
import shutil
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.data import idx
from models.data.idx import DEBIAN_FOLDER, DTYPES, download_fashion_mnist, idx_dataset, read_idx
from models.errors import DataError

needs_debian = pytest.mark.skipif(
    not DEBIAN_FOLDER.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed"
)


def write_idx(values: np.ndarray) -> bytes:
    """The array as an IDX file, by the format's description."""
    code = next(code for code, dtype in DTYPES.items() if np.dtype(dtype).newbyteorder("=") == values.dtype)
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, code, values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


@given(
    st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    ),
    st.booleans(),
)
def test_every_array_comes_back(values: np.ndarray, gz: bool) -> None:
    data = write_idx(values)
    found = read_idx(gzip.compress(data) if gz else data)
    assert found.dtype == values.dtype and found.shape == values.shape
    assert found.tobytes() == values.tobytes()  # of NaN too


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "tiny"
    path.write_bytes(bytes.fromhex("00000803 00000002 00000001 00000003 000102 fdfeff"))
    assert read_idx(path).tolist() == [[[0, 1, 2]], [[253, 254, 255]]]
    assert read_idx(bytes.fromhex("00000b01 00000002 0001 fffe")).tolist() == [1, -2]


LABELS = bytes.fromhex("00000801 00000003 000102")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file: it starts with 0x,"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file: it starts with 0x89504e47"),
        (bytes.fromhex("00000a01 00000001 00"), "not an IDX file"),
        (bytes.fromhex("00000800"), "0 dimensions; 1 to 8"),
        (bytes.fromhex("00000809") + bytes(36), "9 dimensions; 1 to 8"),
        (bytes.fromhex("00000803 00000002"), "ends within its 3 dimensions"),
        (LABELS[:-1], "2 bytes of values; the dimensions \\(3,\\) need 3"),
        (LABELS + b"\0", "bytes follow the 3"),
        (bytes.fromhex("00000803") + b"\xff" * 12, "declare more than 1073741824 bytes"),
        (bytes.fromhex("00000803 00000000") + b"\xff" * 8, "declare more than 1073741824 bytes"),
        # Without a time in it: the tests' names, which hold these bytes, are the same in each process.
        (gzip.compress(LABELS, mtime=0)[:-9], "cannot be read to its end"),
        (gzip.compress(LABELS, mtime=0)[:-8] + b"\1\2\3\4" + gzip.compress(LABELS)[-4:], "cannot be read to its end"),
        (b"\x1f\x8b not gzip", "cannot be read to its end"),
        (gzip.compress(LABELS + b"\0", mtime=0), "bytes follow"),
    ],
)
def test_what_is_no_whole_idx_file_is_refused_by_name(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "some-labels"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"some-labels.*{message}"):
        read_idx(path)


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_give_an_array_or_a_data_error(tail: bytes, gz: bool) -> None:
    data = b"\0\0" + tail
    try:
        read_idx(gzip.compress(data) if gz else data)
    except DataError:
        return


def test_a_gz_bomb_is_read_no_further_than_its_dimensions() -> None:
    data = gzip.compress(LABELS + bytes(200 << 20))
    with pytest.raises(DataError, match="bytes follow the 3"):
        read_idx(data)


def write_set(folder: Path, images: np.ndarray, labels: np.ndarray, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, values in zip(idx.STEMS["test"], (images, labels), strict=True):
        data = write_idx(values)
        (folder / f"{stem}{suffix}").write_bytes(gzip.compress(data) if suffix == ".gz" else data)


IMAGES = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
DIGITS = np.array([7, 0, 9], np.uint8)


@pytest.mark.parametrize("sub", ["", "mnist"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_set_is_found_in_a_folder_or_below_it(sub: str, suffix: str, tmp_path: Path) -> None:
    write_set(tmp_path / sub, IMAGES, DIGITS, suffix)
    found = idx_dataset("mnist", "test", tmp_path)
    assert np.array_equal(found.images[..., 0], IMAGES)
    assert found.labels.tolist() == [7, 0, 9] and found.labels.dtype == np.int64
    assert found.label_names == tuple("0123456789")


def test_mirrors_that_write_a_dot(tmp_path: Path) -> None:
    write_set(tmp_path, IMAGES, DIGITS)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(idx_dataset("mnist", "test", tmp_path)) == 3


def test_missing_files_are_named_with_their_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "DEBIAN_FOLDER", tmp_path / "absent")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte, .*t10k-labels.*package dataset-fashion-mnist"):
        idx_dataset("fashion-mnist", "train")
    write_set(tmp_path, IMAGES, DIGITS)
    (tmp_path / idx.STEMS["test"][1]).unlink()
    with pytest.raises(DataError, match="mnist test is read from"):
        idx_dataset("mnist", "test", tmp_path)
    with pytest.raises(DataError, match="no folder was given"):
        idx_dataset("mnist", "test")


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    for images, labels, message in (
        (IMAGES, DIGITS[:2], "must hold 3 uint8"),
        (IMAGES, np.array([7, 0, 10], np.uint8), "label 10"),
        (IMAGES.astype(np.int16), DIGITS, r"uint8 of shape \(n, h, w\)"),
        (IMAGES[0], DIGITS, r"uint8 of shape \(n, h, w\)"),
    ):
        write_set(tmp_path, images, labels)
        with pytest.raises(DataError, match=message):
            idx_dataset("mnist", "test", tmp_path)


def test_another_name_or_split_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'kmnist' and 'test'"):
        idx_dataset("kmnist", "test")  # type: ignore[arg-type]


@needs_debian
def test_fashion_mnist_of_debian() -> None:
    train, test = idx_dataset("fashion-mnist", "train"), idx_dataset("fashion-mnist", "test")
    assert train.images.shape == (60000, 28, 28, 1) and test.images.shape == (10000, 28, 28, 1)
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert train.label_names[train.labels[0]] == "Ankle boot"
    assert abs(train.images.mean() / 255 - 0.2860) < 1e-4  # the mean that its users subtract


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        if not self.path.startswith("/moved/"):
            return super().do_GET()
        self.send_response(302)
        self.send_header("Location", self.path.removeprefix("/moved"))
        self.end_headers()


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A folder and the https address it is served at, by an authority that is trusted meanwhile."""
    authority, folder = trustme.CA(), tmp_path / "served"
    folder.mkdir()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    handler = type("Served", (Quiet,), {"__init__": lambda self, *a: Quiet.__init__(self, *a, directory=str(folder))})
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_port}", folder
        server.shutdown()


@needs_debian
def test_a_download_is_held_to_its_sha256_and_done_once(https: tuple[str, Path], tmp_path: Path) -> None:
    url, served = https
    for path in DEBIAN_FOLDER.glob("*.gz"):
        shutil.copy(path, served)
    download_fashion_mnist(tmp_path / "kept", url)
    assert {path.name for path in (tmp_path / "kept").iterdir()} == set(idx.FASHION_MNIST_SHA256)
    assert len(idx_dataset("fashion-mnist", "test", tmp_path / "kept")) == 10000
    download_fashion_mnist(tmp_path / "kept", "https://localhost:1")


def test_another_file_or_none_is_refused_and_not_kept(https: tuple[str, Path], tmp_path: Path) -> None:
    url, served = https
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz cannot be downloaded \(File not found\)"):
        download_fashion_mnist(tmp_path / "kept", url)
    (served / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(write_idx(IMAGES)))
    with pytest.raises(DataError, match="train-images-idx3-ubyte has another sha256"):
        download_fashion_mnist(tmp_path / "kept", url)
    with pytest.raises(DataError, match="cannot be downloaded"):
        download_fashion_mnist(tmp_path / "kept", f"{url}/moved")
    with pytest.raises(ValueError, match="must start with https://"):
        download_fashion_mnist(tmp_path / "kept", url.replace("https", "http"))
    assert not list((tmp_path / "kept").iterdir())
