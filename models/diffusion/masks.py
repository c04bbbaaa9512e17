"""Masks with feathered edges for inpainting."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label, maximum


def feather_mask(marked: NDArray[np.bool_], feather: int) -> NDArray[np.float32]:
    """Returns the share of the generated image in each pixel, float32 (h, w) in [0, 1].

    It is 0 outside the mask and rises to 1 inside it, over `feather` pixels from the edge. marked: (h, w), True where
    the image is generated. The border of the image is not an edge. In a narrow part of the mask the share rises over
    half of its width, so that the middle is generated too.
    """
    if feather == 0 or marked.all():
        return marked.astype(np.float32)
    distance = distance_transform_edt(marked)
    parts, n_parts = label(marked, np.ones((3, 3)))
    deepest = np.concatenate([[1.0], maximum(distance, parts, np.arange(1, n_parts + 1))])
    shares: NDArray[np.float32] = np.minimum(1, distance / np.minimum(feather + 1, deepest)[parts]).astype(np.float32)
    return shares
