"""Every example with the client, with curl and in a notebook runs as it stands against an installation."""

import os
import re
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.stack import CALM, ROOT, Stack

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted((EXAMPLES / "python").glob("*.py"))
SHELL = sorted(path for path in (EXAMPLES / "curl").glob("*.sh") if path.name != "atelier.sh")
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
GUIDE = ROOT / "docs" / "how-to" / "use-the-python-client.md"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with one worker."""
    made = Stack(tmp_path_factory.mktemp("examples"), **CALM)
    yield made.start_all()
    made.stop()


@pytest.fixture
def checkout(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder that looks like the root of the repository, and an environment that names the installation."""
    for name in ("examples", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATELIER_URL", stack.url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'client'}")
    return tmp_path


def saved(text: str) -> list[Path]:
    """The files that an example has printed."""
    return [Path(line) for line in text.split() if re.fullmatch(r"[\w/.-]+\.(png|jpg|webp|parquet)", line)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_python(path: Path, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed and all(each.stat().st_size > 100 for each in saved(printed))


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.stem)
def test_curl(path: Path, checkout: Path) -> None:
    ran = subprocess.run([str(path)], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert all(each.stat().st_size > 100 for each in saved(ran.stdout))
    assert saved(ran.stdout) or path.stem in ("stylize_a_folder", "collect", "manage_jobs")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS", "2")
    monkeypatch.setenv("INFERENCE_STEPS", "3")
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(checkout)}}).execute()


def test_examples_are_in_both_languages_and_listed() -> None:
    page = (EXAMPLES / "README.md").read_text()
    assert {path.stem for path in SCRIPTS} == {path.stem for path in SHELL}
    assert all(f"({path.relative_to(EXAMPLES)})" in page for path in (*SCRIPTS, *SHELL, *NOTEBOOKS))
    assert all(os.access(path, os.X_OK) for path in SHELL)


def test_five_lines_from_pip_install_to_a_saved_image(stack: Stack, checkout: Path) -> None:
    blocks = [each for each in re.findall(r"(?:^    .+\n|^\n)+", GUIDE.read_text(), flags=re.M) if each.strip()]
    install, lines = ([line.strip() for line in block.splitlines() if line.strip()] for block in blocks[:2])
    assert install == ["pip install ./client"] and len(install) + len(lines) == 5
    exec("\n".join(lines).replace("http://127.0.0.1:8000", stack.url), {})
    assert Path("out.png").stat().st_size > 100
