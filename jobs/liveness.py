"""What a worker's heartbeat means: whether its child processes move, and whether it leaves work waiting."""

from typing import Any

from jobs.store.heartbeats import SILENCE_S, Vitals

Facts = dict[str, Any]


def is_frozen(facts: Facts) -> bool:
    """Whether no child process of a worker moves, so that nothing it takes is ever run."""
    return bool(len(facts.get("frozen", [])) >= facts.get("children", 1))


def serves(facts: Facts, queue: str) -> bool:
    """Whether a worker runs jobs of this queue."""
    return queue in facts["queues"] and not is_frozen(facts)


def is_stalled(queue: str, facts: Facts, vitals: Vitals) -> bool:
    """Whether a job waits in this queue, nobody claims one, and this worker has long been free to do so."""
    free_s = facts.get("free_s", 0) if serves(facts, queue) else 0
    return bool(min(vitals.waiting_s[queue], vitals.unclaimed_s[queue], free_s) > SILENCE_S)
