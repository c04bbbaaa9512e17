"""Imports run one way, api -> jobs <- worker -> models, jobs -> images <- models; the API's image has no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import ROOT

HEAVY = ("torch", "onnxruntime", "transformers", "diffusers", "sklearn", "h5py", "safetensors")
MUST_NOT = {
    "models": ("jobs", "api", "worker"),
    "jobs": ("api", "worker", "models"),
    "api": ("worker", "models"),
    "worker": ("api",),
    "images": ("jobs", "api", "worker", "models", "cards", "fastapi", *HEAVY),
    "cards": ("jobs", "api", "worker", "models", "images", "fastapi", *HEAVY),
}


def loaded_by(statement: str) -> set[str]:
    """Returns the top-level modules that a new Python process has loaded after a statement."""
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.split())


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_api_loads_no_torch_and_no_worker() -> None:
    loaded = loaded_by("import api.main")
    assert {"api", "jobs", "fastapi"} <= loaded
    assert loaded.isdisjoint((*HEAVY, "pyarrow", "worker", "models"))


def test_tracing_loads_nothing_while_it_is_off() -> None:
    loaded_by("import api.main, worker.app, sys; assert 'opentelemetry.sdk' not in sys.modules")


@pytest.mark.parametrize(("runner", "library"), [("fast", "onnxruntime"), ("search", "faiss")])
def test_the_runners_of_short_jobs_load_no_torch(runner: str, library: str) -> None:
    loaded = loaded_by(f"import worker.runners.{runner}")
    assert {"worker", library} <= loaded
    assert loaded.isdisjoint({"torch", "transformers", "diffusers"})


def test_jobs_loads_no_web_framework_and_no_torch() -> None:
    names = ", ".join(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources("jobs"))
    loaded = loaded_by(f"import {names}")
    assert {"jobs", "redis", "PIL"} <= loaded
    assert loaded.isdisjoint((*HEAVY, "fastapi", "starlette", "uvicorn", "api", "worker", "models"))


@pytest.mark.parametrize("package", MUST_NOT)
def test_no_import_against_the_stream(package: str) -> None:
    """Imports inside functions count too."""
    against = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported(node)
        if name.partition(".")[0] in MUST_NOT[package]
    ]
    assert sources(package)
    assert against == []


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [node.module or ""]
    return []
