"""Models from the Hugging Face hub: its own client against a server that speaks the requests it makes."""

import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from models.catalogue import RECORD, Card, card, checked_file, installed
from models.errors import WeightsError
from models.fetch import COMING, fetch, main

WEIGHTS, CONFIG = "unet/model.safetensors", "unet/config.json"
COMMIT, LATER = "1" * 40, "2" * 40


@dataclass
class Hub:
    """What is published, by repository, commit and path; `cut` is sent only by half, `false` not as it is listed,
    `gone` listed only."""

    files: dict[str, bytes]
    main: str = COMMIT
    cut: set[str] = field(default_factory=set)
    false: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def listed(self, path: str) -> dict[str, Any]:
        data = self.files[path]
        facts = {"type": "file", "path": path.split("@")[1][41:], "size": len(data), "oid": "0" * 40}
        if path.endswith(".safetensors"):
            facts["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 1}
        return facts


def handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None: ...

        def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"content_length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_POST(self) -> None:  # /api/models/<owner>/<name>/paths-info/<commit>
            words = self.path.split("/")
            asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())["paths"]
            paths = [f"{words[3]}/{words[4]}@{words[6]}/{path}" for path in asked]
            found = [hub.listed(path) for path in paths if path in hub.files]
            self.answer(json.dumps(found).encode(), content_type="application/json")

        def do_GET(self) -> None:
            if self.path.startswith("/api/models/"):
                facts = {"id": self.path[12:], "sha": hub.main, "siblings": [], "tags": [], "downloads": 0, "likes": 0}
                return self.answer(json.dumps(facts).encode(), content_type="application/json")
            repository, _, rest = unquote(self.path)[1:].partition("/resolve/")
            path = f"{repository}@{rest}"
            if path in hub.gone:
                return self.answer(b"", 404, x_error_code="EntryNotFound")
            data = hub.files[path]
            start = int(self.headers.get("range", "bytes=0-")[6:].split("-")[0])
            if self.command == "GET":
                hub.asked.append(f"{path} from {start}")
            if path in hub.false:
                data = data[::-1]
            headers = {"etag": f'"{sha256(data)}"', "x_repo_commit": rest[:40], "accept_ranges": "bytes"}
            if self.command == "GET" and path in hub.cut:
                hub.cut.remove(path)
                headers["content_length"] = str(len(data))
                self.answer(data[: len(data) // 2], 200, **headers)
                self.close_connection = True
                return None
            if start:
                headers["content_range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self.answer(data[start:], 206 if start else 200, **headers)

        do_HEAD = do_GET

    return Handler


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def published(commit: str = COMMIT, mark: bytes = b"") -> dict[str, bytes]:
    return {
        f"a/decoder@{commit}/{WEIGHTS}": b"weights" * 1000 + mark,
        f"a/decoder@{commit}/{CONFIG}": b"{}" + mark,
        f"b/prior@{commit}/scheduler/config.json": b"{ }" + mark,
    }


def at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi", partial(HfApi, endpoint=address))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    served = Hub(published())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(served)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at(f"http://127.0.0.1:{server.server_port}", monkeypatch)
        yield served
        server.shutdown()


def small(revision: str | None = COMMIT) -> Card:
    files: dict[str, str | None] = {WEIGHTS: None, CONFIG: None, "prior_scheduler/config.json": None}
    repositories = {
        "a/decoder": {"revision": revision, "files": {WEIGHTS: WEIGHTS, CONFIG: CONFIG}},
        "b/prior": {"revision": revision, "files": {"prior_scheduler/config.json": "scheduler/config.json"}},
    }
    return replace(card("kandinsky-2.2"), id="small", files=files, source={"kind": "hub", "repositories": repositories})


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_each_file_lands_in_its_folder_and_its_hash_and_commit_are_recorded(hub: Hub, tmp_path: Path) -> None:
    assert not installed(small(), tmp_path)
    assert fetch(small(), tmp_path)
    assert installed(small(), tmp_path) and not fetch(small(), tmp_path)
    assert names(tmp_path / "small") == sorted([RECORD, *small().files])
    for name in small().files:
        checked_file(small(), name, tmp_path)
    record = json.loads((tmp_path / "small" / RECORD).read_text())
    assert record["source"] == small().source
    assert record["commits"] == {"a/decoder": COMMIT, "b/prior": COMMIT}
    assert record["files"][WEIGHTS] == sha256(b"weights" * 1000)
    assert len(hub.asked) == 3


def test_without_a_commit_main_is_taken_once_and_kept(hub: Hub, tmp_path: Path) -> None:
    assert fetch(small(None), tmp_path)
    hub.main = LATER
    hub.files |= published(LATER, b"!")
    (tmp_path / "small" / CONFIG).write_text("tampered")
    assert fetch(small(None), tmp_path)
    assert (tmp_path / "small" / CONFIG).read_text() == "{}"
    record = json.loads((tmp_path / "small" / RECORD).read_text())
    assert record["commits"] == {"a/decoder": COMMIT, "b/prior": COMMIT}
    assert len(hub.asked) == 4  # of the second fetch the tampered file alone


def test_another_commit_on_the_card_is_another_model(hub: Hub, tmp_path: Path) -> None:
    fetch(small(), tmp_path)
    hub.files |= published(LATER, b"!")
    with pytest.raises(WeightsError, match="no known sha256"):
        checked_file(small(LATER), WEIGHTS, tmp_path)
    assert fetch(small(LATER), tmp_path)
    assert (tmp_path / "small" / WEIGHTS).read_bytes().endswith(b"!")


def test_a_download_that_was_interrupted_resumes_where_it_stopped(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"a/decoder@{COMMIT}/{WEIGHTS}"
    hub.cut.add(path)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    assert fetch(small(), tmp_path)
    assert [asked for asked in hub.asked if asked.startswith(path)] == [f"{path} from 0", f"{path} from 3000"]
    assert names(tmp_path / "small") == sorted([RECORD, *small().files])


def test_what_an_interrupted_fetch_brought_is_not_downloaded_again(hub: Hub, tmp_path: Path) -> None:
    last = f"b/prior@{COMMIT}/scheduler/config.json"
    hub.gone.add(last)
    with pytest.raises(WeightsError, match=r"`python -m models.fetch small` resumes where this stopped"):
        fetch(small(), tmp_path)
    assert len(hub.asked) == 2 and not installed(small(), tmp_path)
    with pytest.raises(WeightsError, match="not on this machine"):
        checked_file(small(), WEIGHTS, tmp_path)
    hub.gone.clear()
    assert fetch(small(), tmp_path) and installed(small(), tmp_path)
    assert len(hub.asked) == 3 and hub.asked[-1].startswith(last)


def test_what_is_not_as_published_is_refused_and_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.false.add(f"a/decoder@{COMMIT}/{WEIGHTS}")
    with pytest.raises(WeightsError, match="differs from the published file"):
        fetch(small(), tmp_path)
    assert not installed(small(), tmp_path) and WEIGHTS not in names(tmp_path / "small")
    hub.false.clear()
    assert fetch(small(), tmp_path)


def test_a_file_that_is_not_published_is_named(hub: Hub, tmp_path: Path) -> None:
    del hub.files[f"b/prior@{COMMIT}/scheduler/config.json"]
    with pytest.raises(WeightsError, match=r"b/prior has no scheduler/config.json"):
        fetch(small(), tmp_path)
    assert hub.asked == []


def test_a_full_disk_is_noticed_before_anything_is_downloaded(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=7004))
    with pytest.raises(WeightsError, match=r"small needs 7,005 bytes .* 7,004 free"):
        fetch(small(), tmp_path)
    assert hub.asked == []
    (tmp_path / "small" / COMING).mkdir()
    (tmp_path / "small" / COMING / "part").write_bytes(b"0")  # has its bytes already
    assert fetch(small(), tmp_path)


def test_without_a_network_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at("http://127.0.0.1:9", monkeypatch)
    assert main(["kandinsky-2.2", "--weights-dir", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Model kandinsky-2.2 could not be downloaded from http://127.0.0.1:9 (")
    assert error.endswith("`python -m models.fetch kandinsky-2.2` resumes where this stopped.\n")
    assert error.count("\n") == 1


def test_no_token_is_sent(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    sent: list[str | None] = []
    real = http.server.BaseHTTPRequestHandler.send_response

    def noted(request: Any, *args: Any) -> None:
        sent.append(request.headers.get("authorization"))
        real(request, *args)

    monkeypatch.setattr(http.server.BaseHTTPRequestHandler, "send_response", noted)
    fetch(small(), tmp_path)
    assert sent and not any(sent)


def test_a_token_is_sent_for_gated_files_alone(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    asked: list[object] = []
    here = huggingface_hub.HfApi  # of the test's own server

    def noted(token: bool | None) -> HfApi:
        asked.append(token)
        return here(token=False)

    monkeypatch.setattr("huggingface_hub.HfApi", noted)
    fetch(small(), tmp_path)
    gated = small()
    fetch(replace(gated, id="gated", source={**gated.source, "gated": True}), tmp_path)
    assert asked == [False, None]
