"""Checks the structure of the source: no import circles, short functions and files, tests that mirror the source."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ["api", "jobs", "worker", "models", "images", "cards", "bench", "examples", "client", "tests"]
MAX_FUNCTION_LINES = 60
MAX_ARGUMENTS = 7  # by position, without `self`; options by keyword are not counted
MAX_FILE_LINES = 350
STUDIO = ROOT / "api" / "static"  # pages, scripts and styles of our own, apart from its libraries in vendor/
MAX_STUDIO_LINES = 300

# Training loops, which are read from top to bottom.
LONG_FUNCTIONS = {
    "models/training/cyclegan.py::train_cyclegan",
    "models/training/dcgan.py::train_dcgan",
}
# Tests of no single module; each says in its docstring what it tests.
CROSS_CUTTING = {
    "tests/api/test_api.py",
    "tests/api/test_bad_input.py",
    "tests/api/test_fields.py",
    "tests/api/test_imports.py",
    "tests/api/test_limits.py",
    "tests/api/test_schemathesis.py",
    "tests/api/test_tenants.py",
    "tests/integration",
    "tests/studio",
    "tests/test_deployment.py",
    "tests/test_structure.py",
    "tests/test_vocabulary.py",
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the repository: its dotted name and its file."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports(node: ast.AST) -> set[str]:
    """Modules of the repository that a module imports, inside functions too, but not for types alone."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return set()
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & modules().keys()
    if isinstance(node, ast.ImportFrom):
        names = {f"{node.module}.{alias.name}" for alias in node.names}
        return names & modules().keys() or {node.module or ""} & modules().keys()
    return set().union(*(imports(child) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)))


def test_no_import_circle() -> None:
    graph = {name: imports(ast.parse(path.read_text())) for name, path in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def is_under(path: str, entries: set[str]) -> bool:
    """Whether a path is an entry, lies in one, or is a topic of one, as test_b_topic.py is of test_b.py."""
    starts = [f"{entry.removesuffix('.py')}_" if entry.endswith(".py") else f"{entry}/" for entry in entries]
    return path in entries or path.startswith(tuple(starts))


def faults_of_code(path: str, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > MAX_FUNCTION_LINES and f"{path}::{node.name}" not in LONG_FUNCTIONS:
                yield f"{path}::{node.name} has {lines} lines, more than {MAX_FUNCTION_LINES}"
            names = [each.arg for each in (*node.args.posonlyargs, *node.args.args) if each.arg not in ("self", "cls")]
            if len(names) > MAX_ARGUMENTS:
                yield f"{path}::{node.name} has {len(names)} positional arguments, more than {MAX_ARGUMENTS}"
        elif isinstance(node, ast.Assert) and not path.startswith(("tests/", "bench/")):
            yield f"{path}:{node.lineno} asserts: `python -O` removes that, and a named error says more"


def mirrors_source(path: str) -> bool:
    """Whether tests/a/test_b.py or tests/a/test_b_topic.py has a module or folder a/b."""
    folder, words = Path(path).parent.relative_to("tests"), Path(path).stem.removeprefix("test_").split("_")
    names = ["_".join(words[: i + 1]) for i in range(len(words))]
    return any(entry.stem in names for entry in (ROOT / folder).iterdir()) if (ROOT / folder).is_dir() else False


def faults(path: str) -> list[str]:
    text = (ROOT / path).read_text()
    lines, found = len(text.splitlines()), list(faults_of_code(path, text))
    if lines > MAX_FILE_LINES:
        found.append(f"{path} has {lines} lines, more than {MAX_FILE_LINES}")
    if Path(path).name.startswith("test_") and not is_under(path, CROSS_CUTTING) and not mirrors_source(path):
        found.append(f"{path} names no module of the same path")
    return found


def paths() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in modules().values()]


def test_files_and_functions_are_short_without_asserts_and_tests_mirror_the_source() -> None:
    found = [fault for path in paths() for fault in faults(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("suffix", ["js", "css", "html"])
def test_files_of_the_studio_are_short(suffix: str) -> None:
    files = [path for path in STUDIO.rglob(f"*.{suffix}") if path.parent.name != "vendor"]
    long = {path.name: len(path.read_text().splitlines()) for path in files}
    assert files and {name: lines for name, lines in long.items() if lines > MAX_STUDIO_LINES} == {}


def test_exceptions_exist() -> None:
    entries = CROSS_CUTTING | {name.partition("::")[0] for name in LONG_FUNCTIONS}
    assert [entry for entry in sorted(entries) if not (ROOT / entry).exists()] == []
