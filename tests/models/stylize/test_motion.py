"""Steadied frames of films whose motion is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.stylize.motion import Steadier, moved, trusted_flow

Frames = NDArray[np.uint8]


def smooth(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Soft blobs of color."""
    y, x = np.mgrid[:height, :width]
    image = np.zeros((height, width, 3))
    for _ in range(60):
        at, spread, color = rng.uniform(0, (height, width)), rng.uniform(3, 9), rng.uniform(-90, 90, 3)
        image += color * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * spread**2))[..., None]
    return np.clip(128 + image, 0, 255)


@pytest.fixture(scope="module")
def film() -> Frames:
    """Six frames in which everything moves three pixels to the left."""
    whole = smooth(np.random.default_rng(0), 96, 160)
    return np.stack([whole[:, 3 * k : 3 * k + 128] for k in range(6)]).astype(np.uint8)


def test_the_flow_is_the_motion(film: Frames) -> None:
    flow, trust = trusted_flow(film[0], film[1])
    inner = np.s_[16:-16, 16:-16]
    assert np.abs(np.median(flow[inner], (0, 1)) - (3, 0)).max() < 0.2
    assert np.median(trust[inner]) > 0.9
    apart = np.abs(moved(film[0].astype(np.float32), flow) - film[1])[inner]
    assert np.median(apart) < 3


def test_the_flow_follows_the_edge_of_what_moves_under_noise() -> None:
    rng = np.random.default_rng(0)
    ground, ball = smooth(rng, 128, 192), smooth(rng, 64, 64)
    y, x = np.mgrid[:64, :64]
    disk = (y - 32) ** 2 + (x - 32) ** 2 < 30**2
    frames, masks = [], []
    for left in (40, 52):
        frame, mask = ground.copy(), np.zeros(ground.shape[:2], bool)
        box = np.s_[32:96, left : left + 64]
        frame[box][disk], mask[box] = ball[disk], disk
        frames.append((frame + rng.normal(0, 3, frame.shape)).clip(0, 255).astype(np.uint8))
        masks.append(mask)
    flow, trust = trusted_flow(*frames)
    motion = np.where(masks[1][..., None], (-12, 0), (0, 0))
    shown = masks[1] | ~masks[0]  # not the ground that was hidden
    assert (np.abs(flow - motion).sum(2) * trust)[shown].mean() < 0.45, "pixels"


def flicker(frames: Frames, film: Frames) -> float:
    """Mean difference of each frame from the one before, moved by three pixels."""
    inner = frames[:, 16:-16, 16:-16].astype(float)
    return float(np.abs(inner[1:, :, :-3] - inner[:-1, :, 3:]).mean())


def test_flicker_falls_and_the_content_stays(film: Frames) -> None:
    rng = np.random.default_rng(1)
    painted = (film + rng.normal(0, 12, film.shape)).clip(0, 255).astype(np.uint8)
    steadier = Steadier(0.85)
    steadied = np.stack([steadier.steadied(*pair) for pair in zip(film, painted, strict=True)])
    assert flicker(steadied, film) < flicker(painted, film) / 3
    errors = [
        np.abs(frames[:, 16:-16, 16:-16].astype(float) - film[:, 16:-16, 16:-16]).mean()
        for frames in (steadied, painted)
    ]
    assert errors[0] < errors[1]


def test_nothing_is_blended_across_a_cut_or_without_smoothing(film: Frames) -> None:
    other = film[0][::-1, ::-1].copy()
    steadier = Steadier(0.9)
    steadier.steadied(film[0], film[0])
    after = steadier.steadied(other, other)
    assert np.abs(after.astype(int) - other).mean() < 4, "little of the scene before shows"
    plain = Steadier(0)
    for frame in film:
        np.testing.assert_array_equal(plain.steadied(frame, frame[::-1]), frame[::-1])
