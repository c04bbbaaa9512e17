"""Paths through a space with frames at equal distances along them.

A path goes through points, and a frame on it is a weighted sum of them. So distances need only the points' Gram matrix,
and frames of large vectors are made from a small matrix of weights.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from models.errors import SpaceError

Float64 = NDArray[np.float64]
SAMPLES = 256  # of each piece of a curve, to measure its length
CLOSED = 3  # points that a closed curve needs; two have only the way out and back


def frame_weights(points: NDArray[np.float32], n_frames: int, *, loop: bool, curved: bool) -> Float64:
    """Weights (n_frames, m) of points (m, dim), with which frames are `n_frames` equal steps along a path through them.

    curved: a cubic spline through the points; else straight from each to the next. loop: the last frame is one step
    before the first; a path whose ends differ is a closed curve, or returns the same way if it is straight or has two
    points. Without `loop` it starts at the first point and ends at the last. Raises SpaceError if all points are equal.
    """
    kept = _without_repeats(points, closed=loop and curved)
    if len(kept) < 2:
        raise SpaceError("all points of the path are the same")
    path = points[kept] - points.mean(0, dtype=np.float64)
    rounded = curved and len(path) >= CLOSED
    closed = rounded or np.array_equal(path[0], path[-1])
    shares = _shares(n_frames, loop=loop, closed=closed)
    weights = np.zeros((n_frames, len(points)))
    weights[:, kept] = (_curve(path, loop) if rounded else _polyline(path))(shares)
    return weights


def tour(points: NDArray[np.float32]) -> NDArray[np.intp]:
    """The order (m,) of points (m, dim) around their mean, by their angle in the plane that shows most of them."""
    centered = points - points.mean(0)
    plane = np.linalg.svd(centered.astype(np.float64), full_matrices=False)[0][:, :2]
    return np.argsort(np.arctan2(plane[:, -1], plane[:, 0]), kind="stable")


def _shares(n_frames: int, *, loop: bool, closed: bool) -> Float64:
    """The share of the path's length at which each frame is; an odd number out and back rests at the far end."""
    k = np.arange(n_frames)
    if not loop:
        return k / (n_frames - 1)
    return k / n_frames if closed else np.minimum(k, n_frames - k) / (n_frames // 2)


def _without_repeats(points: NDArray[np.float32], *, closed: bool) -> list[int]:
    """Indices of the points that differ from the one before; of a closed path, also the last from the first."""
    kept = [0, *(k for k in range(1, len(points)) if not np.array_equal(points[k], points[k - 1]))]
    while closed and len(kept) > 1 and np.array_equal(points[kept[-1]], points[kept[0]]):
        kept.pop()
    return kept


def _polyline(points: Float64) -> Callable[[Float64], Float64]:
    """Weights at shares of the length of the straight path."""
    ends = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    corners = np.eye(len(points))
    return lambda shares: np.stack([np.interp(shares * ends[-1], ends, column) for column in corners], axis=1)


def _curve(points: Float64, closed: bool) -> Callable[[Float64], Float64]:
    """Weights at shares of the length of a cubic spline.

    Its knots are centripetal (Lee 1989, "Choosing nodes in parametric curve interpolation"), so that it neither loops
    nor overshoots where distances differ.
    """
    corners = np.eye(len(points))
    if closed:
        points, corners = np.concatenate([points, points[:1]]), np.concatenate([corners, corners[:1]])
    steps = np.sqrt(np.linalg.norm(np.diff(points, axis=0), axis=1))
    knots = np.concatenate([[0], np.cumsum(steps)])
    spline = CubicSpline(knots, corners, bc_type="periodic" if closed else "natural")
    pieces = [np.linspace(a, b, SAMPLES, endpoint=False) for a, b in pairwise(knots)]
    fine = np.concatenate([*pieces, knots[-1:]])
    unique = points[: corners.shape[1]]
    moves = np.diff(spline(fine), axis=0)
    lengths = np.sqrt(np.einsum("ij,jk,ik->i", moves, unique @ unique.T, moves).clip(0))
    done = np.concatenate([[0], np.cumsum(lengths)])
    return lambda shares: spline(np.interp(shares * done[-1], done, fine))
