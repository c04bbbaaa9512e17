"""Where the service is."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from atelier_client import Atelier
from atelier_client.cli.options import examples, refuse
from atelier_client.cli.terminal import note
from atelier_client.settings import Connection, config_path

app = typer.Typer()


@contextmanager
def connected(context: typer.Context) -> Iterator[Atelier]:
    """A client of the service that the options of `atelier`, the environment or the config file name."""
    url, api_key = context.find_root().params["url"], context.find_root().params["api_key"]
    with Atelier(url, api_key=api_key, retries=0) as once:
        once.request("GET", "/healthz")  # a mistaken address is refused at once, a busy service is waited for
    with Atelier(url, api_key=api_key) as atelier:
        yield atelier


@app.command(epilog=examples("printenv ATELIER_API_KEY | atelier login"))
def login(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Argument(help="The address; that of --url when absent.", show_default=False)
    ] = None,
) -> None:
    """Checks an API key and stores it with the address, in a file that only you can read.

    The key is asked for in a terminal and read from standard input elsewhere. It is empty for a service without keys.
    """
    given = context.find_root().params
    base_url = Connection.resolved(url or given["url"], None).base_url
    key = given["api_key"]
    if key is None:
        key = (
            typer.prompt("API key", "", hide_input=True, show_default=False) if sys.stdin.isatty() else sys.stdin.read()
        )
    connection = Connection(base_url, key.strip() or None)
    with Atelier(base_url, api_key=connection.api_key, retries=0) as atelier:
        atelier.models()
    connection.store()
    note(f"{base_url} is stored in {config_path()}.")


@app.command(epilog=examples("atelier serve"))
def serve() -> None:
    """Starts the service: the API, workers, upkeep and Valkey. Run it in a checkout of Atelier; Ctrl-C stops it."""
    installed = Path(__file__).resolve().parents[3]
    for folder in (Path.cwd(), *Path.cwd().parents, installed):
        script = folder / "scripts" / "run"
        if script.is_file() and (folder / "supervisord.conf").is_file():
            sys.stdout.flush()
            os.execv(script, [str(script)])
    refuse("atelier serve", f"must run in a checkout of Atelier, which has scripts/run: {Path.cwd()} is in none.")
