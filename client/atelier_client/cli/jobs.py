"""The commands `atelier jobs …`."""

from itertools import islice
from typing import Annotated

import typer

from atelier_client import Job
from atelier_client.cli import terminal
from atelier_client.cli.failures import exit_code, report
from atelier_client.cli.options import Json, Output, Show, examples
from atelier_client.cli.service import connected
from atelier_client.cli.work import Work, follow
from atelier_client.errors import JobError, job_error

app = typer.Typer(no_args_is_help=True, help="Lists, shows, awaits, cancels and retries jobs.")

ONE = "job=$(atelier generate --model dcgan-avatars --no-wait)"
Id = Annotated[str, typer.Argument(metavar="JOB", show_default=False)]
Ids = Annotated[list[str], typer.Argument(metavar="JOB…", show_default=False)]


@app.command("list", epilog=examples("atelier jobs list --status succeeded -n 5"))
def list_jobs(
    context: typer.Context,
    *,
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed, …")] = None,
    kind: Annotated[str | None, typer.Option(help="Such as style-transfer.")] = None,
    n: Annotated[int, typer.Option("-n", help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """Lists jobs, newest first."""
    with connected(context) as atelier:
        jobs = list(islice(atelier.jobs(kind=kind, status=status), n))
    if as_json:
        for job in jobs:
            terminal.print_json(dict(job.data))
    else:
        rows = [(job.id, job.kind, job.status, job.data["created_at"]) for job in jobs]
        terminal.print_rows(("id", "kind", "status", "created"), rows)


@app.command(epilog=examples(ONE, "atelier jobs show $job"))
def show(context: typer.Context, job_id: Id, *, as_json: Json = False) -> None:
    """Shows a job: its state, parameters and outputs."""
    with connected(context) as atelier:
        job = atelier.job(job_id)
    if as_json:
        terminal.print_json(dict(job.data))
        return
    progress = job.progress
    rows: list[tuple[str, object]] = [("id", job.id), ("kind", job.kind), ("status", job.status)]
    rows += [("progress", f"{progress['step']}/{progress['total']} {progress['message']}")] if progress else []
    rows += [("error", job.error["message"])] if job.error else []
    rows += [("warning", each) for each in job.warnings]
    rows += [(name, value) for name, value in job.params.items() if value is not None]
    rows += [("output", f"{each.role} {each.size[0]}x{each.size[1]} {each.data['url']}") for each in job.outputs]
    terminal.print_rows(("field", "value"), rows)


@app.command(epilog=examples(ONE, "atelier jobs wait $job -o face.png"))
def wait(
    context: typer.Context, jobs: Ids, *, output: Output = None, as_json: Json = False, show: Show = False
) -> None:
    """Waits until jobs have ended, and saves their outputs if --output is given."""
    codes = []
    with connected(context) as atelier:
        work = Work(output, as_json, show, no_wait=False)
        for job in [atelier.job(each) for each in jobs]:
            try:
                follow(job)
                work.finish(job, result=None if output else lambda job: job.id)
            except JobError as error:
                report(error, as_json=as_json)
                codes.append(exit_code(error))
    if codes:
        raise typer.Exit(codes[0])


@app.command(epilog=examples(ONE, "atelier jobs watch $job"))
def watch(context: typer.Context, job_id: Id, *, as_json: Json = False) -> None:
    """Prints the events of a job until it ends."""
    with connected(context) as atelier:
        job = atelier.job(job_id)
        for event in job.events():
            if as_json:
                terminal.print_json({"event": event.type, "id": event.id, "data": event.data})
            else:
                typer.echo(_line(event.type, event.data))
        if job.status != "succeeded":
            raise job_error(job)


@app.command(epilog=examples("job=$(atelier train vae digits --no-wait)", "atelier jobs cancel $job"))
def cancel(context: typer.Context, jobs: Ids, *, as_json: Json = False) -> None:
    """Cancels jobs; a running one ends at its next step."""
    with connected(context) as atelier:
        for each in jobs:
            _print(atelier.job(each).cancel(), as_json)


@app.command(epilog=examples(ONE, "atelier jobs retry $job"))
def retry(context: typer.Context, job_id: Id, *, as_json: Json = False) -> None:
    """Submits a job again with the same parameters and seed, and prints the new id."""
    with connected(context) as atelier:
        _print(atelier.job(job_id).retry(), as_json)


def _print(job: Job, as_json: bool) -> None:
    if as_json:
        terminal.print_json(dict(job.data))
    else:
        typer.echo(job.id)


def _line(kind: str, data: dict[str, object]) -> str:
    """An event for people."""
    if kind == "progress":
        return f"{data['step']}/{data['total']} {data['message']}"
    if kind == "output":
        return f"output {data['index']}: {data['role']} {data['width']}x{data['height']}"
    return f"{data['status']}" if "status" in data else kind
