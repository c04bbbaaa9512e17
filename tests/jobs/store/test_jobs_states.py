"""What each command does to a job in each state."""

import itertools
from typing import Any

import pytest

from jobs.errors import Conflict, NotFound
from jobs.schemas import TERMINAL
from jobs.store.jobs import JobStore
from jobs.store.records import Ending
from tests.jobs.conftest import with_settings
from tests.jobs.store.helpers import end, events, make, pass_by, refused, take

STATES = ("queued", "delayed", "running", "canceling", "succeeded", "failed", "canceled", "expired")
LOST = dict.fromkeys(STATES, "lost")
AFTER: dict[str, dict[str, tuple[Any, str]]] = {  # command: {state: (answer, state then)}, where something happens
    "claim": {"queued": (True, "running")},
    "renew": {"running": ("running", "running"), "canceling": ("canceling", "canceling")},
    "report": {"running": ("running", "running"), "canceling": ("canceling", "canceling")},
    "succeed": {
        "running": ("succeeded", "succeeded"),
        "canceling": ("canceled", "canceled"),
        "succeeded": ("succeeded", "succeeded"),
        "failed": ("failed", "failed"),
    },
    "fail": {
        "running": ("failed", "failed"),
        "canceling": ("canceled", "canceled"),
        "succeeded": ("succeeded", "succeeded"),
        "failed": ("failed", "failed"),
    },
    "release": {"running": ("queued", "queued"), "canceling": ("canceled", "canceled")},
    "cancel": {"queued": (None, "canceled"), "delayed": (None, "canceled"), "running": (None, "canceling")},
    "delete": dict.fromkeys(("succeeded", "failed", "canceled", "expired"), (None, "gone")),
    "sweep": {},
}
REFUSAL = {"claim": False, "cancel": None, "delete": "unfinished", "sweep": None}


def bring_to(store: JobStore, state: str) -> tuple[str, int]:
    """Creates a job and brings it to a state; returns its id and the fence of its last lease."""
    job_id = make(store, expires_in=60)
    if state in ("queued", "canceled", "expired"):
        if state == "canceled":
            store.cancel(job_id)
        elif state == "expired":
            pass_by(store, "expiry", job_id)
            store.sweep()
        return job_id, 0
    job = take(store)
    if state == "delayed":
        pass_by(store, "leases", job_id)
        with_settings(store, retry_delay_s=60).sweep()
    elif state == "canceling":
        store.cancel(job_id)
    elif state in TERMINAL:
        end(store, job, state)
    return job_id, job.fence


def command(store: JobStore, name: str, job_id: str, fence: int) -> Any:
    """Runs one command of the protocol on a job; returns its result."""
    if name == "claim":
        return bool(store.claim("fast", worker="w"))
    if name == "report":
        return store.report(job_id, fence, "progress", {"step": 1})
    if name in ("succeed", "fail"):
        return store.finish(job_id, fence, Ending({"succeed": "succeeded", "fail": "failed"}[name], {}))
    if name == "delete":
        try:
            return store.delete(job_id)
        except Conflict:
            return "unfinished"
    return getattr(store, name)(*([] if name == "sweep" else [job_id] if name == "cancel" else [job_id, fence]))


@pytest.mark.parametrize(("name", "state"), list(itertools.product(AFTER, STATES)))
def test_each_command_moves_each_state_as_the_table_says(store: JobStore, name: str, state: str) -> None:
    job_id, fence = bring_to(store, state)
    shown = "queued" if state == "delayed" else state
    answer, then = AFTER[name].get(state, (REFUSAL.get(name, "lost"), shown))
    before = events(store, job_id)
    assert command(store, name, job_id, fence) == answer
    if then == "gone":
        refused(NotFound, "job_not_found", store.get, job_id)
        return
    assert store.get(job_id).status == then
    if then == shown and name != "report":
        assert events(store, job_id) == before, "what changes nothing says nothing"
