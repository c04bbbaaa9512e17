"""Files of any size from URLs: through the guard, and continued where they stopped."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.errors import BadInput
from jobs.intake.downloads import PARTIAL, Offered, download, look
from tests.file_server import Files, serving

DATA = bytes(range(256)) * 40_000


@pytest.fixture
def files() -> Iterator[Files]:
    with serving({"a.safetensors": DATA, "small": b"{}"}) as served:
        yield served


def fetch(files: Files, path: Path, name: str = "a.safetensors") -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    download(files.url(name), path, lambda done, total: seen.append((done, total)), {}, files.network())
    return seen


def test_a_file_arrives_with_its_bytes_counted(files: Files, tmp_path: Path) -> None:
    seen = fetch(files, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    assert seen[0] == (0, len(DATA)) and seen[-1] == (len(DATA), len(DATA)) and 3 <= len(seen) <= 6
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_broken_download_continues(files: Files, tmp_path: Path) -> None:
    files.cut.add("a.safetensors")
    with pytest.raises(BadInput, match="responds in time"):
        fetch(files, tmp_path / "a")
    half = (tmp_path / f"a{PARTIAL}").stat().st_size
    assert half == len(DATA) // 2
    assert fetch(files, tmp_path / "a")[0] == (half, len(DATA))
    assert (tmp_path / "a").read_bytes() == DATA
    assert files.asked == ["a.safetensors from 0", f"a.safetensors from {half}"]


@pytest.mark.parametrize("change", ["another file", "no tag"])
def test_a_file_that_may_have_changed_is_fetched_anew(files: Files, tmp_path: Path, change: str) -> None:
    files.cut.add("a.safetensors")
    files.untagged = change == "no tag"
    with pytest.raises(BadInput):
        fetch(files, tmp_path / "a")
    files.served["a.safetensors"] = DATA[::-1] if change == "another file" else DATA
    fetch(files, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == files.served["a.safetensors"]
    assert files.asked[1] == "a.safetensors from 0"


def test_on_bytes_stops_a_download_which_continues_later(files: Files, tmp_path: Path) -> None:
    class StopError(Exception): ...

    def stop(done: int, total: int) -> None:
        if done:
            raise StopError

    with pytest.raises(StopError):
        download(files.url("a.safetensors"), tmp_path / "a", stop, {}, files.network())
    assert fetch(files, tmp_path / "a")[0][0] > 0 and (tmp_path / "a").read_bytes() == DATA


def test_what_a_server_says_of_a_file(files: Files, tmp_path: Path) -> None:
    assert look(files.url("small"), {}, files.network()) == Offered(2, None)
    files.linked.add("a.safetensors")
    sha = hashlib.sha256(DATA).hexdigest()
    assert look(files.url("a.safetensors"), {}, files.network()) == Offered(len(DATA), sha)
    fetch(files, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA


@pytest.mark.parametrize(("url", "code"), [("https://localhost/a", "url_not_allowed"), ("gone", "url_not_fetched")])
def test_a_private_host_and_a_missing_file(files: Files, tmp_path: Path, url: str, code: str) -> None:
    network = files.network()
    if url.startswith("https"):
        network = network._replace(resolve=lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 443))])
    else:
        url = files.url(url)
    for call in (lambda: look(url, {}, network), lambda: download(url, tmp_path / "a", print, {}, network)):
        with pytest.raises(BadInput) as caught:
            call()
        assert caught.value.code == code
    assert not list(tmp_path.iterdir())
