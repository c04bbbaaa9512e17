"""The examples write to the files of the repository only on request."""

import argparse
import hashlib
import runpy
import sys
from pathlib import Path

import pytest

from examples.output import DOCS, IMAGES, ROOT, arguments

SCRIPTS = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name not in ("demo.py", "output.py"))


def tracked() -> dict[Path, str]:
    """Digests of the files that an example may write, by path."""
    files = [path for folder in (DOCS, ROOT / "examples") for path in folder.rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if "__pycache__" not in path.parts}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_example_writes_to_its_output_folder(path: Path) -> None:
    """Only `arguments` knows the folders of the repository; a script writes below `args.out`."""
    lines = path.read_text().splitlines()
    assert any("arguments(" in line for line in lines)
    for line in lines:
        writes = "save(" in line or "write_" in line
        assert not (writes and any(folder in line for folder in ("IMAGES", "DOCS", "ROOT"))), line


def test_example_without_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tracked()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["data_sheets"])
    runpy.run_path(str(ROOT / "examples" / "data_sheets.py"), run_name="__main__")
    assert list((tmp_path / "demo").glob("*.jpg"))
    assert tracked() == before


def test_flag_chooses_the_tracked_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["example", "--docs"])
    assert arguments(argparse.ArgumentParser(), IMAGES).out == IMAGES
