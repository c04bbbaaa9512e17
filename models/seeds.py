"""Random state from integer seeds of any size."""

import numpy as np
import torch


def folded(seed: int) -> int:
    """Folds a seed to 32 bits: itself below 2**32, else a hash of all its bits.

    PyTorch's Mersenne twister uses only the lowest 32 bits, and scikit-learn refuses larger seeds.
    """
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])


def seeded(seed: int) -> torch.Generator:
    """Returns a generator on the CPU for any device, so that a seed gives the same numbers everywhere."""
    return torch.Generator().manual_seed(folded(seed))
