"""The command `atelier`."""

import sys
from typing import Annotated

import httpx
import typer

from atelier_client.cli import images, jobs, lists, service, spaces, training
from atelier_client.cli.failures import exit_code, report
from atelier_client.errors import AtelierError

app = typer.Typer(name="atelier", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
for each in (images.app, spaces.app, training.app):
    app.add_typer(each)
app.add_typer(jobs.app, name="jobs")
for each in (lists.app, service.app):
    app.add_typer(each)


@app.callback()
def options(
    *,
    url: Annotated[
        str | None, typer.Option(help="The service; else ATELIER_URL, `atelier login` or port 8000.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(help="Else ATELIER_API_KEY or `atelier login`.")] = None,
) -> None:
    """Paints, generates, steers and trains with Atelier, a self-hosted image service.

    Exit codes: 0 done, 1 a job failed, 2 a wrong option or a refused request, 3 no service, 4 not allowed.
    """


def main() -> None:
    """Runs the command; an error ends it with one sentence and an exit code."""
    try:
        app(prog_name="atelier")
    except (AtelierError, OSError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        report(error, as_json="--json" in sys.argv)
        sys.exit(exit_code(error))
