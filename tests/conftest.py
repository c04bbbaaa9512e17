"""Set before anything of Atelier is imported."""

import os
from pathlib import Path

os.environ.setdefault("ATELIER_WEIGHTS_DIR", str(Path(__file__).parent.parent / "data" / "weights"))
# As in worker/app.py: OpenMP's threads soon sleep while they wait for each other.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
