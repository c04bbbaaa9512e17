"""Container health: `python health.py worker | upkeep`; exits 0 when healthy, else 1.

A worker is healthy while its heartbeat reaches Redis, a child process of it moves, busy or not, and it does not leave
work waiting. Upkeep is healthy while it completes its rounds.
"""

import socket
import sys

from jobs.liveness import Facts, is_frozen, is_stalled
from jobs.settings import get_settings
from jobs.store.client import connect
from jobs.store.heartbeats import Vitals
from jobs.store.jobs import JobStore


def main(role: str) -> int:
    """0 when this container does its work, else 1."""
    settings = get_settings()
    jobs = JobStore(connect(settings, attempts=0), settings)
    here = f"@{socket.gethostname()}"
    if role == "worker":
        own = [facts for name, facts in jobs.heartbeats.workers().items() if name.endswith(here)]
        return int(not own or not all(_works(facts, jobs.heartbeats.vitals()) for facts in own))
    return int(not any(name.endswith(here) for name in jobs.heartbeats.upkeeps()))


def _works(facts: Facts, vitals: Vitals) -> bool:
    return not is_frozen(facts) and not any(is_stalled(queue, facts, vitals) for queue in facts["queues"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
