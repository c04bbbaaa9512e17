"""Interprets the heartbeats of workers: whether one is frozen, serves a queue, or stalls."""

from typing import Any

from jobs.store.heartbeats import SILENCE_S, Vitals

Facts = dict[str, Any]


def is_frozen(facts: Facts) -> bool:
    """Whether every child process of a worker is frozen, so that it runs no job."""
    return bool(len(facts.get("frozen", [])) >= facts.get("children", 1))


def serves(facts: Facts, queue: str) -> bool:
    """Whether a worker runs jobs of this queue."""
    return queue in facts["queues"] and not is_frozen(facts)


def is_stalled(queue: str, facts: Facts, vitals: Vitals) -> bool:
    """Whether a job waits in this queue and no job is claimed, although this worker has been free for a while."""
    free_s = facts.get("free_s", 0) if serves(facts, queue) else 0
    return bool(min(vitals.waiting_s[queue], vitals.unclaimed_s[queue], free_s) > SILENCE_S)
