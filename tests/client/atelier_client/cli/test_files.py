from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from atelier_client.cli import files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two images and other files, which is the current one."""
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_globs_files_and_ids(folder: Path) -> None:
    assert files.images_of(["."]) == ["a.jpg", "b.png"]
    assert files.images_of(["**/*.png", "b.png"]) == ["b.png", "sub/a.png"]
    assert files.images_of(["notes.txt", "img_5f", "col_1/17"]) == ["notes.txt", "img_5f", "col_1/17"]


@pytest.mark.parametrize("pattern", ["none.png", "*.webp", "sub/*.jpg"])
def test_pattern_without_images_is_named(folder: Path, pattern: str) -> None:
    with pytest.raises(typer.BadParameter) as error:
        files.images_of([pattern])
    assert pattern in error.value.message


@pytest.mark.parametrize(
    ("output", "sources", "rule"),
    [
        ("out.png", ["a.jpg", "b.png"], "must be a folder for 2 images"),
        ("out.tga", ["a.jpg"], "must end in one of .png"),
        ("b.png", ["b.png"], "would be overwritten"),
        (".", ["sub/../b.png"], "would be overwritten"),
        ("none/out.png", ["a.jpg"], "folder that exists"),
    ],
)
def test_output_that_cannot_be_is_refused(folder: Path, output: str, sources: list[str], rule: str) -> None:
    with pytest.raises(typer.BadParameter, match=rule):
        files.check_output(Path(output), sources)


def test_names_of_results(folder: Path) -> None:
    assert files.names_of(["a.jpg", "sub/a.png", "b.png"]) == ["a.jpg", "a.png", "b"]
    assert files.format_of(Path("out.jpg")) == "jpeg" and files.format_of(Path("sub")) is files.format_of(None) is None


def job(*roles: str) -> Any:
    outputs = [
        SimpleNamespace(role=role, data={"index": i, "content_type": "image/png"}, read=lambda: b"x")
        for i, role in enumerate(roles)
    ]
    return SimpleNamespace(id="job_1", outputs=outputs)


def test_where_outputs_are_saved(folder: Path) -> None:
    assert files.save(job("picture", "picture", "grid"), Path("new")) == [f"new/job_1-{i}.png" for i in range(3)]
    assert files.save(job("picture"), Path("new"), "cat") == ["new/cat.png"]
    assert files.save(job("picture", "grid"), Path("new"), "cat") == ["new/cat-0.png", "new/cat-1.png"]
    assert files.save(job("picture"), None, "cat") == ["job_1-0.png"]
    assert files.save(job("picture", "grid"), Path("one.png")) == ["one.png"]


def test_a_file_gets_the_image_or_the_grid_of_several() -> None:
    assert files.main_output(job("picture", "grid")).role == "picture"
    assert files.main_output(job("picture", "picture", "grid")).role == "grid"
    assert files.main_output(job("animation", "grid")).role == "animation"
    assert files.main_output(job("plot", "plot")).role == "plot"
