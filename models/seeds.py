"""Random state from integer seeds of any size. Imports no torch, which searches do not need."""

import numpy as np


def folded(seed: int) -> int:
    """Folds a seed to 32 bits: itself below 2**32, else a hash of all its bits.

    PyTorch's Mersenne twister uses only the lowest 32 bits, and scikit-learn refuses larger seeds.
    """
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])
