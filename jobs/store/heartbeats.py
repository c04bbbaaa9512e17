"""Which workers, child processes and upkeep processes are alive.

Only Redis's clock counts: the clocks of the hosts may differ.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jobs.settings import Settings
from jobs.store.protocol import PREFIX, Protocol
from jobs.store.records import QUEUES

BEAT_S = 3  # between two heartbeats of a process
SILENCE_S = 10  # a process without a heartbeat for this long counts as away
REPORTED = ("cards", "installed")  # what a worker reports of its models, stored once for all workers with the same
MAX_READ = 64  # reports in the memory of a process
_read: OrderedDict[str, dict[str, Any]] = OrderedDict()  # by sha256


@dataclass(frozen=True)
class Vitals:
    """Seconds by queue, the number of leases, and of those that ran out and were not requeued."""

    waiting_s: dict[str, float]
    unclaimed_s: dict[str, float]
    leases: int
    overdue_leases: int


class Heartbeats:
    """Records heartbeats and lists the processes that sent one recently."""

    def __init__(self, protocol: Protocol, settings: Settings) -> None:
        self._protocol = protocol
        self._overdue_ms = int(max(SILENCE_S, 2 * settings.sweep_s) * 1000)

    def beat(self, worker: str, facts: dict[str, Any]) -> None:
        """Records that a worker is alive, and what it reports: its queues and models."""
        models = json.dumps({name: facts[name] for name in REPORTED if name in facts})
        sha = hashlib.sha256(models.encode()).hexdigest()
        state = {name: value for name, value in facts.items() if name not in REPORTED} | {"report": sha}
        arguments = {"sort": "worker", "name": worker, "facts": json.dumps(state), "report": sha}
        if self._protocol.call("beat", **arguments) == "send":
            self._protocol.call("beat", **arguments, models=models, whole=json.dumps(facts))

    def workers(self) -> dict[str, dict[str, Any]]:
        """Returns what each worker with a heartbeat in the last `SILENCE_S` seconds reports."""
        living = self._protocol.call("living", sort="worker", silence_ms=SILENCE_S * 1000)
        states = {name: json.loads(facts) for name, facts in living}
        reports = self._reports({state["report"] for state in states.values() if "report" in state})
        return {name: state | reports.get(state.pop("report", ""), {}) for name, state in states.items()}

    def reports(self, silence_s: float) -> list[dict[str, Any]]:
        """Returns what workers reported of their models in the last `silence_s` seconds (at most a day), newest last.

        It is the same for workers with the same models, so its size does not grow with their number.
        """
        shas = self._protocol.call("reports", silence_ms=int(silence_s * 1000))
        known = self._reports(shas)
        return [known[sha] for sha in shas if sha in known]

    def _reports(self, shas: Collection[str]) -> dict[str, dict[str, Any]]:
        """Reads the reports that this process has not read before; those in memory are shared by all callers."""
        for sha in [sha for sha in shas if sha not in _read]:
            if text := cast(str | None, self._protocol.client.get(f"{PREFIX}report:{sha}")):
                _read[sha] = json.loads(text)
        while len(_read) > MAX_READ:
            _read.popitem(last=False)
        return {sha: _read[sha] for sha in shas if sha in _read}

    def beat_child(self, child: str, facts: dict[str, Any]) -> None:
        """Records that a child process of a worker is alive, and what it reports: its models in memory."""
        self._protocol.client.set(f"{PREFIX}child:{child}", json.dumps(facts), px=SILENCE_S * 1000)

    def living_children(self, children: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Returns what those of these child processes with a heartbeat in the last `SILENCE_S` seconds report."""
        marks = cast(list[str | None], self._protocol.client.mget([f"{PREFIX}child:{child}" for child in children]))
        return {child: json.loads(mark) for child, mark in zip(children, marks, strict=True) if mark}

    def beat_upkeep(self, name: str) -> None:
        """Records that an upkeep process completed a round."""
        self._protocol.call("beat", sort="upkeep", name=name, facts="{}")

    def upkeeps(self) -> list[str]:
        """Returns the upkeep processes that completed a round in two intervals, `SILENCE_S` seconds at least."""
        return [name for name, _ in self._protocol.call("living", sort="upkeep", silence_ms=self._overdue_ms)]

    def vitals(self, *, write: bool = True) -> Vitals:
        """Returns the input of readiness, which also writes to Redis, and of metrics, which do not."""
        ages, leases, overdue = self._protocol.call("vitals", queues=QUEUES, overdue_ms=self._overdue_ms, write=write)
        waiting_s = {queue: waiting / 1000 for queue, (waiting, _) in zip(QUEUES, ages, strict=True)}
        unclaimed_s = {queue: unclaimed / 1000 for queue, (_, unclaimed) in zip(QUEUES, ages, strict=True)}
        return Vitals(waiting_s, unclaimed_s, leases, overdue)
