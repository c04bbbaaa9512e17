"""The commands `models` and `styles`."""

from typing import Annotated

import typer

from atelier_client.cli import terminal
from atelier_client.cli.options import Json, examples
from atelier_client.cli.service import connected

app = typer.Typer()


@app.command(epilog=examples("atelier models", "atelier models dcgan-avatars --json"))
def models(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="Show this one.", show_default=False)] = None,
    *,
    task: Annotated[str | None, typer.Option(help="List those of a task.")] = None,
    as_json: Json = False,
) -> None:
    """Lists the models, or shows the card of one."""
    with connected(context) as atelier:
        found = [atelier.model(model)] if model else [each for each in atelier.models() if task in (None, each["task"])]
    if as_json:
        for each in found:
            terminal.print_json(each)
    elif model:
        terminal.print_rows(("field", "value"), [(name, value) for name, value in found[0].items() if value])
    else:
        rows = [(each["id"], each["task"], "yes" if each["installed_on"] else "no", each["title"]) for each in found]
        terminal.print_rows(("id", "task", "installed", "title"), rows)


@app.command(epilog=examples("atelier styles"))
def styles(context: typer.Context, *, as_json: Json = False) -> None:
    """Lists the built-in styles and those that were kept."""
    with connected(context) as atelier:
        found = [*atelier.styles()["styles"], *atelier.pages("/v1/styles", "kept")]
    if as_json:
        for each in found:
            terminal.print_json(each)
    else:
        terminal.print_rows(("id", "name"), [(each["id"], each["name"]) for each in found])
