import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier_client.inputs import Upload, replaced, upload_of, uploads

CAT = Path("examples/photos/chelsea.jpg")


@pytest.mark.parametrize(
    "value", ["builtin:19", f"img_{0:064}", "https://example.com/a.jpg", "data:image/png;base64,AA"]
)
def test_ids_and_urls_are_no_uploads(value: str) -> None:
    assert upload_of(value) is None


def test_each_form_of_an_image() -> None:
    content = CAT.read_bytes()
    forms = [str(CAT), CAT, content, io.BytesIO(content)]
    shas = {upload.sha256 for form in forms if (upload := upload_of(form))}
    assert len(shas) == 1
    image = upload_of(Image.fromarray(np.zeros((16, 16, 3), np.uint8)))
    assert image is not None and isinstance(image.content, bytes)
    assert Image.open(io.BytesIO(image.content)).size == (16, 16)


def test_places_of_files_in_parameters() -> None:
    params = {"content": CAT, "style": [{"image": str(CAT), "weight": 2}, {"image": "builtin:3"}], "prompt": str(CAT)}
    found = dict(uploads(params))
    assert list(found) == [("content",), ("style", 0, "image")]  # a prompt is never a file
    body = replaced(params, dict.fromkeys(found, "img_x"))
    assert body == {
        "content": "img_x",
        "style": [{"image": "img_x", "weight": 2}, {"image": "builtin:3"}],
        "prompt": str(CAT),
    }


def test_keyword_of_python_loses_its_underscore() -> None:
    assert replaced({"with_": ["hat"], "n": 3}, {}) == {"with": ["hat"], "n": 3}


def test_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="`content`: there is no file nothing"):
        list(uploads({"content": "nothing.jpg"}))
    with pytest.raises(FileNotFoundError, match="`data`"):
        list(uploads({"data": "nothing.zip"}))
    assert not list(uploads({"data": "digits"}))


def test_film_is_uploaded_as_an_archive() -> None:
    [(where, upload)] = uploads({"mode": "film", "film": "docs/images/space-animation.webp", "style": "builtin:19"})
    assert where == ("film",) and upload.route == "/v1/archives"
    with pytest.raises(FileNotFoundError, match="`film`: there is no file walk"):
        list(uploads({"film": "walk.mp4"}))


def test_folder_is_one_zip_file(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.txt").write_text("a")
    (tmp_path / ".DS_Store").write_text("x")
    first, again = upload_of(tmp_path, "data"), upload_of(str(tmp_path), "data")
    assert isinstance(first, Upload) and isinstance(again, Upload)
    assert first.route == "/v1/archives" and first.sha256 == again.sha256
    assert isinstance(first.content, io.IOBase) or hasattr(first.content, "read")
    with zipfile.ZipFile(first.content) as archive:  # type: ignore[arg-type]
        assert archive.namelist() == ["cats/a.txt"]


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no files"):
        upload_of(tmp_path, "data")
