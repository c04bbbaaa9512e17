"""How much of what is made anew each pixel of an inpainted image takes."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label, maximum


def feather_mask(marked: NDArray[np.bool_], feather: int) -> NDArray[np.float32]:
    """Shares of the new image: 0 outside the mask, rising inside it over `feather` pixels from its edge to 1.

    marked: (h, w), True where the image is made anew. The border of the image is no edge. In a part of the mask that is
    too narrow, the shares rise over half of its width, so that its middle is made anew as well.
    """
    if feather == 0 or marked.all():
        return marked.astype(np.float32)
    distance = distance_transform_edt(marked)
    parts, n_parts = label(marked, np.ones((3, 3)))
    deepest = np.concatenate([[1.0], maximum(distance, parts, np.arange(1, n_parts + 1))])
    shares: NDArray[np.float32] = np.minimum(1, distance / np.minimum(feather + 1, deepest)[parts]).astype(np.float32)
    return shares
