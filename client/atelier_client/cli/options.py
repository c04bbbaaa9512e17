"""Options that commands share, and what they hold."""

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape

Files = Annotated[list[str] | None, typer.Argument(help="Images: files, folders, globs or ids.", show_default=False)]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="A file for the image, or the grid where there are several; or a folder for all outputs."
    ),
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Any other field of the request, its value as JSON or text; may be repeated.",
    ),
]
Limit = Annotated[int | None, typer.Option(help="Use so many images at most.")]
Seed = Annotated[int | None, typer.Option(help="Random state; chosen when absent.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Show = Annotated[bool, typer.Option("--show", help="Show the image in the terminal.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Print the id of the job instead of waiting for it.")]


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return escape("\n".join(["Examples:", "", *(f"  {line}" for line in lines)]))


def request(settings: list[str] | None, **options: Any) -> dict[str, Any]:
    """The fields of a request: options that were given, and `settings` over them."""
    given = {name: value for name, value in options.items() if value is not None}
    return given | dict(_field(each) for each in settings or ())


def _field(setting: str) -> tuple[str, Any]:
    name, sign, text = setting.partition("=")
    if not (name and sign):
        refuse("--set", f"must be FIELD=VALUE, not {setting!r}.")
    try:
        return name, json.loads(text, parse_constant=_no_number)
    except ValueError:
        return name, text


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)  # NaN and Infinity are no JSON


def refuse(option: str, rule: str) -> NoReturn:
    """Ends the command, before anything is sent, because of an option."""
    raise typer.BadParameter(f"`{option}` {rule}")
