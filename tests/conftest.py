"""Set before anything of Atelier is imported."""

import os
from pathlib import Path

os.environ.setdefault("ATELIER_WEIGHTS_DIR", str(Path(__file__).parent.parent / "data" / "weights"))
# As in worker/app.py: OpenMP's threads soon sleep while they wait for each other.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
# Processes that run tests beside each other share the cores.
beside = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // beside)))
