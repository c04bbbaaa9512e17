"""The content that shows a style embedding alone. Imports no torch, which the queue `fast` does not need."""

from functools import cache

import numpy as np

from models.stylize.fast import TILE, Array


@cache
def texture() -> Array:
    """Gray noise (384, 384, 3) in [0, 1] of equal power in each octave; not to be written to.

    What a style embedding paints on it is the style alone: its colors, strokes and grain at every size.
    """
    noise = np.fft.rfft2(np.random.default_rng(0).normal(size=(TILE, TILE)))
    frequencies = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)).clip(1 / TILE)
    pink = np.fft.irfft2(noise / frequencies, (TILE, TILE))
    gray = (0.5 + 0.22 * (pink - pink.mean()) / pink.std()).clip(0, 1).astype(np.float32)
    gray.flags.writeable = False
    return np.broadcast_to(gray[..., None], (TILE, TILE, 3))
