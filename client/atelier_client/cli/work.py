"""Submits the jobs of a command, follows them and saves what they made."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from atelier_client import Atelier, Job
from atelier_client.cli import files, terminal
from atelier_client.cli.failures import exit_code, report
from atelier_client.errors import APIError, JobError
from atelier_client.keys import IMAGE_KEYS

WINDOW = 32  # jobs of a folder that are queued at a time: enough for batches
OF_ONE_IMAGE = {None, "file", *IMAGE_KEYS}  # fields whose refusal says nothing about the other images

Result = Callable[[Job], str]


@dataclass(frozen=True)
class Work:
    """What to do with jobs and their outputs."""

    output: Path | None
    as_json: bool
    show: bool
    no_wait: bool

    def one(self, atelier: Atelier, path: str, params: Mapping[str, Any], result: Result | None = None) -> None:
        """Runs one job; prints its `result`, or the files that it has saved."""
        files.check_output(self.output, [])
        job = atelier.start(path, self._with_format(params))
        if self.no_wait:
            self._print(job, job.id, [])
        else:
            follow(job)
            self.finish(job, result=result)

    def each(
        self, atelier: Atelier, path: str, sources: Sequence[str], params: Callable[[str], Mapping[str, Any]]
    ) -> None:
        """Runs one job for each source; one that fails leaves the others as they are."""
        files.check_output(self.output, sources)
        if len(sources) == 1:
            self.one(atelier, path, params(sources[0]))
            return
        submitted = (self._submitted(atelier, path, source, params(source)) for source in sources)
        names, codes = files.names_of(sources), []
        with terminal.bar("images") as update:
            for i, job in enumerate(_ahead(submitted, WINDOW)):
                try:
                    self._end(job, names[i])
                except (APIError, JobError) as error:
                    report(error, as_json=self.as_json, source=sources[i])
                    codes.append(exit_code(error))
                update(i + 1, len(sources), "")
        if codes:
            raise typer.Exit(codes[0])

    def finish(self, job: Job, name: str | None = None, result: Result | None = None) -> None:
        """Saves the outputs of a finished job and prints them, or its `result`."""
        for warning in job.warnings:
            terminal.note(f"warning: {warning}")
        saved = files.save(job, self.output, name) if self.output or not result else []
        if result:
            for each in saved:
                terminal.note(f"{each} is saved.")
        self._print(job, result(job) if result else "\n".join(saved), saved)
        if self.show and job.outputs:
            terminal.show(files.main_output(job).image())

    def _submitted(self, atelier: Atelier, path: str, source: str, params: Mapping[str, Any]) -> Job | APIError:
        try:
            return atelier.start(path, self._with_format(params))
        except APIError as error:
            if error.field not in OF_ONE_IMAGE or error.status in (401, 403, 429) or error.status >= 500:
                raise
            return error

    def _end(self, job: Job | APIError, name: str) -> None:
        if isinstance(job, APIError):
            raise job
        if self.no_wait:
            self._print(job, job.id, [])
        else:
            self.finish(job.wait(), name)

    def _print(self, job: Job, text: str, saved: Sequence[str]) -> None:
        if self.as_json:
            terminal.print_json({**job.data, "files": saved})
        elif text:
            typer.echo(text)

    def _with_format(self, params: Mapping[str, Any]) -> dict[str, Any]:
        kind = files.format_of(self.output)
        return {**({"format": kind} if kind else {}), **params}


def follow(job: Job) -> None:
    """Waits for a job, with a bar of its steps."""
    try:
        with terminal.bar(job.kind) as update:
            job.wait(progress=lambda each: update(each["step"], each["total"], each["message"]))
    except KeyboardInterrupt:
        terminal.note(f"{job.id} continues; `atelier jobs cancel {job.id}` ends it.")
        raise


def _ahead(jobs: Iterator[Job | APIError], n: int) -> Iterator[Job | APIError]:
    """The same jobs, `n` of them submitted before the first is awaited."""
    queued = deque(islice(jobs, n))
    while queued:
        yield queued.popleft()
        queued.extend(islice(jobs, 1))
