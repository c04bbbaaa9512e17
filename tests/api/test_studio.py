"""How the page of the Studio and its files are served."""

import gzip
import re
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from api.main import create_app
from api.studio import FOLDER, files, version
from jobs.requests.styles import BUILTIN_NAMES
from jobs.settings import Settings


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(create_app(Settings(storage_url=str(tmp_path))))


def test_the_page_is_asked_for_each_time_and_its_files_never_again(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8" and page.headers["Cache-Control"] == "no-cache"
    assert client.get("/", headers={"If-None-Match": page.headers["ETag"]}).status_code == 304
    paths = re.findall(r'(?:href|src)="\./(studio/[^"]+)"', page.text)
    assert len(paths) > 5
    for path in paths:
        file = client.get(f"/{path}")
        assert file.status_code == 200 and file.headers["Cache-Control"].endswith("immutable"), path
    older = client.get("/studio/0123456789ab/main.js")
    assert older.status_code == 200 and older.headers["Cache-Control"] == "no-cache"


def test_the_page_names_every_script_that_its_first_view_imports() -> None:
    """So that a browser asks for all at once, instead of for each once it has read the one before."""
    wanted = ["main.js", "views/style.js"]
    for name in wanted:
        for found in re.findall(r"from '(\.[^']+)'", (FOLDER / name).read_text()):
            path = ((FOLDER / name).parent / found).resolve().relative_to(FOLDER.resolve()).as_posix()
            wanted += [path] * (path not in wanted)
    named = re.findall(r'modulepreload" href="\./studio/VERSION/([^"]+)"', (FOLDER / "index.html").read_text())
    assert sorted(named) == sorted(wanted)


def test_the_image_of_built_in_styles_has_a_part_for_each() -> None:
    width, height = Image.open(BytesIO(files()["styles.webp"].data)).size
    gallery = (FOLDER / "views" / "style-gallery.js").read_text()
    assert height == width * len(BUILTIN_NAMES) and f"const BUILT_IN = {len(BUILTIN_NAMES)};" in gallery


def test_texts_are_compressed_for_clients_that_read_it(client: TestClient) -> None:
    path = f"/studio/{version()}/main.js"
    with client.stream("GET", path, headers={"Accept-Encoding": "gzip, br"}) as response:
        sent = b"".join(response.iter_raw())
    assert response.headers["Content-Encoding"] == "gzip" and response.headers["Vary"] == "Accept-Encoding"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers and gzip.decompress(sent) == plain.content
    assert plain.headers["Content-Type"] == "text/javascript; charset=utf-8"


def test_the_policy_allows_scripts_of_this_service_alone(client: TestClient) -> None:
    for path in ("/", f"/studio/{version()}/main.js"):
        policy = client.get(path).headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|<style| on\w+=|https?://", page)


@pytest.mark.parametrize("name", ["nothing.js", "../main.py", "%2e%2e/main.py", "views", ""])
def test_only_files_of_the_studio_are_served(client: TestClient, name: str) -> None:
    assert client.get(f"/studio/{version()}/{name}").status_code in (401, 404)


def test_no_file_names_another_host() -> None:
    """It works offline, and nothing is private: requests go to the public API of the same origin."""
    for name, file in files().items():
        if name.endswith((".js", ".css", ".html")) and not name.startswith("vendor/"):
            assert not re.search(rb"https?://(?!www\.w3\.org)", file.data), name
            assert b"innerHTML" not in file.data and b"eval(" not in file.data, name
