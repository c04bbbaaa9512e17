"""The mathematics and the weights: usable from a notebook, knows nothing of jobs, Redis or HTTP."""
