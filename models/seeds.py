"""Random state from an integer seed of any size."""

import numpy as np
import torch


def folded(seed: int) -> int:
    """A seed of 32 bits: the seed itself below 2**32, else one that depends on all its bits.

    PyTorch's Mersenne twister reads the lowest 32 bits alone, and scikit-learn refuses more.
    """
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU, whatever the device: the same seed gives the same numbers everywhere."""
    return torch.Generator().manual_seed(folded(seed))
