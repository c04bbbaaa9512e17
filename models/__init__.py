"""The mathematics and the weights: usable from a notebook, knows nothing of jobs, Redis or HTTP."""

import os

# Read when transformers is loaded, which would warn that torchvision, of no use here, is not installed.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
