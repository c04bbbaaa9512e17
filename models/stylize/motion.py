"""Steadies the frames of a film that were stylized one by one, along the optical flow of its contents.

A network paints each frame anew, so the strokes flicker where nothing moves. Each result is blended with the one
before, moved as the content moved, where the flow can be trusted: Ruder, Dosovitskiy and Brox 2016, "Artistic style
transfer for videos", section 4.2, whose loss asks for the same. The flow is that of Kroeger et al. 2016, "Fast optical
flow using dense inverse search".
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # (h, w, 3)
Array = np.ndarray[Any, np.dtype[np.float32]]
REFINEMENTS = 20  # of the flow; after the preset's five the edges of what moves are off by some pixels
SENSOR = 1.0  # standard deviation in pixels of the blur that removes a sensor's noise before
CHANGED = 0.2  # difference of two contents in [0, 1] at which the blend has fallen to 1 / e


class Steadier:
    """Blends each stylized frame of a film with the result before it.

    smoothing: 0 (frame by frame) to just below 1, the share of the result before where the flow can be trusted.
    """

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing
        self._before: tuple[Frame, Array] | None = None

    def steadied(self, content: Frame, painted: Frame) -> Frame:
        """The result for the next frame, from its content and the stylized content."""
        result = painted.astype(np.float32)
        if self._before is not None and self.smoothing:
            earlier, before = self._before
            flow, trust = trusted_flow(earlier, content)
            share = np.float32(self.smoothing) * trust[..., None]
            result += share * (moved(before, flow) - result)
        self._before = content, result
        return result.round().clip(0, 255).astype(np.uint8)


def trusted_flow(earlier: Frame, later: Frame) -> tuple[Array, Array]:
    """The flow (h, w, 2) from each pixel of a frame to its place in the one before, and how far to trust it, 0 to 1.

    Not where the flows in both directions do not meet (Sundaram et al. 2010, eq. 5), such as at what was hidden before,
    and less the more the two contents differ.
    """
    first, second = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (earlier, later))
    flow, forth = _flow(second, first), _flow(first, second)
    round_trip = flow + moved(forth, flow)
    lengths = (flow**2).sum(2) + (moved(forth, flow) ** 2).sum(2)
    meets = (round_trip**2).sum(2) < 0.01 * lengths + 0.5
    apart = np.abs(later.astype(np.float32) - moved(earlier.astype(np.float32), flow)).mean(2) / np.float32(255)
    trust: Array = meets * np.exp(-((apart / np.float32(CHANGED)) ** 2))
    return flow, trust


def moved(image: Array, flow: Array) -> Array:
    """An image (h, w, channels) in float32 read at the places that a flow leads to, by bicubic interpolation."""
    height, width = flow.shape[:2]
    across, down = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = across + flow[..., 0], down + flow[..., 1]
    read: Any = cv2.remap(image, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(read, np.float32)


def _flow(first: Any, second: Any) -> Array:
    """The flow from each pixel of a gray image to its place in another one."""
    method: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setVariationalRefinementIterations(REFINEMENTS)
    smooth = (cv2.GaussianBlur(image, (0, 0), SENSOR) for image in (first, second))
    flow: Array = method.calc(*smooth, None)
    return flow
