"""What a command prints: results to standard output; progress, images and notes to standard error."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

SHOWN_ROWS = 16  # of a terminal, for one image


def print_json(value: Mapping[str, Any]) -> None:
    """Prints one object on a line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def print_rows(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table in a terminal, and lines with tabs elsewhere."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(map(str, row)))
        return
    table = Table(*titles, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


def note(text: str) -> None:
    """Prints a line for people."""
    typer.echo(text, err=True)


def show(image: Image.Image) -> None:
    """Shows an image in a terminal, as well as it can."""
    if not (sys.stdout.isatty() and os.get_terminal_size().columns):
        note("`--show` needs a terminal.")
        return
    from textual_image.renderable import Image as TerminalImage  # its import asks the terminal what it can

    Console().print(TerminalImage(image, height=SHOWN_ROWS, width="auto"))


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar in a terminal; yields a function that sets its step, total and message."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda step, total, message: progress.update(
            task, completed=step, total=total, description=f"{title} {message}".rstrip()
        )
