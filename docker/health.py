"""Container health: `python health.py worker | upkeep`; exits 0 when healthy, else 1.

A worker is healthy while its heartbeat stands in Redis, which a busy one renews too. Upkeep is healthy while no lease
ran out more than a minute ago, for it would have taken the job back.
"""

import socket
import sys
import time

from jobs.settings import get_settings
from jobs.store import PREFIX, JobStore, connect


def main(role: str) -> int:
    """0 when this container does its work, else 1."""
    settings = get_settings()
    jobs = JobStore(connect(settings, attempts=0), settings)
    if role == "worker":
        return int(not any(name.endswith(f"@{socket.gethostname()}") for name in jobs.workers()))
    minute_ago = int(time.time() * 1000) - 60_000
    return int(bool(jobs.client.zcount(f"{PREFIX}leases", "-inf", minute_ago)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
