"""Runs the tests of the promises and prints their figures: `python -m bench.reliability [J1 S3 ...] [--write]`.

docs/reference/reliability.md lists the tests of each promise. A test prints its figure in a line that begins with the
id of the promise. `--write` puts the figures of the tests that passed into that page.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "reliability.md"
ROW = re.compile(r"^\| `([^`]+)` \|(.*)\|$")


def rows(text: str) -> Iterator[tuple[str, str, str]]:
    """The promise, the test or command, and the last figure of each row of the page."""
    promise = ""
    for line in text.splitlines():
        if line.startswith("## "):
            promise = line[3:].partition(":")[0]
        elif row := ROW.match(line):
            yield promise, row[1], row[2].strip()


def main() -> None:
    """Runs the tests and prints a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("promises", nargs="*")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    every = [(promise, test) for promise, test, _ in rows(PAGE.read_text())]
    chosen = [row for row in every if row[0] in args.promises or not args.promises]
    tests = list(dict.fromkeys(test for _, test in chosen if test.startswith("tests/")))
    printed, status = run(tests)
    figures = {row: figure for row in chosen if (figure := figure_of(row[0], printed.get(row[1], [])))}
    for (promise, test), figure in figures.items():
        print(f"{promise:4} {test.rpartition('::')[2]}: {figure}")
    if args.write:
        PAGE.write_text(written(PAGE.read_text(), figures))
    sys.exit(status)


def run(tests: Sequence[str]) -> tuple[dict[str, list[str]], int]:
    """Runs tests; returns what each case that passed printed, by test, and pytest's exit status."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        options = ["-q", f"--junitxml={report.name}", "-o", "junit_logging=system-out", "-o", "junit_family=xunit1"]
        status = subprocess.run([sys.executable, "-m", "pytest", *options, *tests], cwd=ROOT).returncode
        cases = list(ET.parse(report.name).getroot().iter("testcase")) if Path(report.name).stat().st_size else []
    printed: dict[str, list[str]] = {}
    for case in cases:
        if not {"failure", "error", "skipped"} & {part.tag for part in case}:
            test = f"{case.get('file')}::{str(case.get('name')).partition('[')[0]}"
            printed.setdefault(test, []).append(case.findtext("system-out", ""))
    return printed, status


def figure_of(promise: str, printed: Sequence[str]) -> str:
    """The figure of a test: what its cases printed for the promise, the last of them if there are many."""
    lines = [line for text in printed for line in re.findall(rf"(?m)\b{promise}: (.*)$", text)]
    cases = f"{len(printed)} cases" if len(printed) > 1 else "passes" if printed and not lines else ""
    shown = lines[-1:] if len(printed) > 1 else lines
    return ", for example ".join(filter(None, [cases, "; ".join(shown)])).replace("|", "\\|")


def written(text: str, figures: dict[tuple[str, str], str]) -> str:
    """The page with these figures in place of the old ones."""
    lines, found = text.splitlines(), rows(text)
    for number, line in enumerate(lines):
        if ROW.match(line):
            promise, test, old = next(found)
            lines[number] = f"| `{test}` | {figures.get((promise, test), old)} |"
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
