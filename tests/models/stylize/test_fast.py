from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession

from models.errors import WeightsError
from models.perceptual.losses import positions, style_loss, style_targets
from models.perceptual.vgg import VGG
from models.stylize import fast
from models.stylize.fast import (
    BUILTIN_STYLES,
    BUILTIN_TILE,
    OVERLAP,
    TILE,
    ArbitraryNet,
    Array,
    _fade,
    _resized,
    _starts,
    load_arbitrary,
    load_multistyle,
    stylize_builtin,
    stylize_images,
)
from models.stylize.gatys import STYLE_LAYERS

Photo = Callable[[str, int], Array]


@pytest.fixture(scope="module")
def multistyle(weights_dir: Path) -> InferenceSession:
    return load_multistyle(weights_dir)


@pytest.fixture(scope="module")
def arbitrary(weights_dir: Path) -> ArbitraryNet:
    return load_arbitrary(weights_dir)


def builtin(index: int) -> Array:
    weights = np.zeros(BUILTIN_STYLES, np.float32)
    weights[index] = 1
    return weights


def correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a.mean(2).ravel(), b.mean(2).ravel())[0, 1])


def style_distance(vgg: VGG, image: Array, style: Array) -> float:
    features = [vgg(torch.from_numpy(x).permute(2, 0, 1)[None], STYLE_LAYERS) for x in (image, style)]
    found, wanted = ({layer: positions(value) for layer, value in one.items()} for one in features)
    return style_loss(found, style_targets([(wanted, 1.0)], {"gram": 1.0})).item()


def test_every_builtin_style_paints_its_own_image_of_the_content(photo: Photo, multistyle: InferenceSession) -> None:
    content = photo("astronaut", 256)
    images = [stylize_builtin(multistyle, content, builtin(i)) for i in range(BUILTIN_STYLES)]
    kept = [abs(correlation(image, content)) for image in images]
    print(f"luminance correlation: lowest {min(kept):.2f}, median {np.median(kept):.2f}")
    assert np.median(kept) > 0.7
    for i, image in enumerate(images):
        assert np.abs(image - content).mean() > 0.03
        assert all(np.abs(image - other).mean() > 0.02 for other in images[:i])


def test_a_style_image_brings_its_style_and_leaves_the_content(
    photo: Photo, arbitrary: ArbitraryNet, vgg16: VGG
) -> None:
    content, style = photo("astronaut", 192), photo("coffee", 192)
    painted = stylize_images(arbitrary, content, [(style, 1.0)])
    before, after = style_distance(vgg16, content, style), style_distance(vgg16, painted, style)
    print(f"style {before:.3f} -> {after:.3f}, luminance {correlation(painted, content):.2f}")
    assert after < 0.7 * before
    assert correlation(painted, content) > 0.7


@pytest.mark.parametrize("size", [(64, 64), (65, 131), (384, 384), (385, 200), (64, 2048), (70, 600)])
def test_any_size_and_aspect_is_kept(
    multistyle: InferenceSession, arbitrary: ArbitraryNet, size: tuple[int, int]
) -> None:
    content = np.random.default_rng(0).random((*size, 3), np.float32)
    for image in (
        stylize_builtin(multistyle, content, builtin(3)),
        stylize_images(arbitrary, content, [(content, 1.0)]),
    ):
        assert image.shape == content.shape
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1


def test_the_same_arguments_give_the_same_result(
    photo: Photo, multistyle: InferenceSession, arbitrary: ArbitraryNet, weights_dir: Path
) -> None:
    content, styles = photo("chelsea", 400), [(photo("coffee", 300), 1.0)]
    again = load_multistyle(weights_dir)
    builtins = [stylize_builtin(net, content, builtin(7)) for net in (multistyle, multistyle, again)]
    images = [stylize_images(net, content, styles) for net in (arbitrary, arbitrary, load_arbitrary(weights_dir))]
    for first, *others in (builtins, images):
        assert all(np.array_equal(first, other) for other in others)


def test_strength_of_a_builtin_style_mixes_with_the_photo(photo: Photo, multistyle: InferenceSession) -> None:
    content = photo("chelsea", 128)
    full = stylize_builtin(multistyle, content, builtin(5))
    np.testing.assert_array_equal(stylize_builtin(multistyle, content, builtin(5), strength=0), content)
    np.testing.assert_allclose(
        stylize_builtin(multistyle, content, builtin(5), strength=0.5), (content + full) / 2, atol=1e-6
    )


def test_strength_of_a_style_image_moves_from_the_contents_own_style(photo: Photo, arbitrary: ArbitraryNet) -> None:
    content, style = photo("chelsea", 128), photo("coffee", 128)
    own = stylize_images(arbitrary, content, [(content, 1.0)])
    images = [stylize_images(arbitrary, content, [(style, 1.0)], strength=s) for s in (0.0, 0.3, 0.6, 1.0)]
    np.testing.assert_allclose(images[0], own, atol=1e-5)
    distances = [np.abs(image - own).mean() for image in images]
    assert distances == sorted(distances) and distances[-1] > 0.03


def test_shares_are_relative_and_one_style_may_be_split(
    photo: Photo, multistyle: InferenceSession, arbitrary: ArbitraryNet
) -> None:
    content, style = photo("chelsea", 128), photo("coffee", 128)
    once = stylize_images(arbitrary, content, [(style, 1.0)])
    np.testing.assert_allclose(stylize_images(arbitrary, content, [(style, 1.0), (style, 3.0)]), once, atol=1e-4)
    np.testing.assert_allclose(
        stylize_builtin(multistyle, content, 5 * builtin(2)),
        stylize_builtin(multistyle, content, builtin(2)),
        atol=1e-6,
    )


def excess_at_borders(painted: Array, like: Array, axis: int, tile: int) -> float:
    """Steps between neighboring pixels where a tile begins or ends, against those everywhere.

    Both are taken as multiples of those of an image `like` it: a border that crosses the rocket is no seam.
    """
    size = like.shape[axis]
    borders = {at for start in _starts(size, tile) for at in (start, start + tile) if 0 < at < size}
    steps = np.abs(np.diff(painted, axis=axis)).mean(axis=(1 - axis, 2))
    excess = steps / (np.abs(np.diff(like, axis=axis)).mean(axis=(1 - axis, 2)) + 0.01)
    return float(np.mean([excess[at - 1] for at in borders]) / excess.mean())


def test_tiles_leave_no_seam(photo: Photo, arbitrary: ArbitraryNet) -> None:
    content = photo("astronaut", 512)
    painted = stylize_images(arbitrary, content, [(photo("coffee", 384), 1.0)])
    found = [excess_at_borders(painted, content, axis, TILE) for axis in (0, 1)]
    print(f"at borders against everywhere: {found[0]:.2f}, {found[1]:.2f}")
    assert max(found) < 1.2


def test_tiles_of_builtin_styles_leave_no_seam_and_are_like_the_whole(
    photo: Photo, multistyle: InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _resized(photo("astronaut", 512)[80:150], (210, 1536))  # two tiles beside each other
    styles = [builtin(i) for i in (0, 6, 12, 18, 24)]
    tiled = [stylize_builtin(multistyle, content, style) for style in styles]
    monkeypatch.setattr(fast, "BUILTIN_TILE", 1536)
    wholes = [stylize_builtin(multistyle, content, style) for style in styles]
    # One column of strokes may be rougher than others by a third: that of five styles may not.
    found = np.mean([excess_at_borders(*pair, axis=1, tile=BUILTIN_TILE) for pair in zip(tiled, wholes, strict=True)])
    alike = [correlation(*pair) for pair in zip(tiled, wholes, strict=True)]
    print(f"at borders against everywhere: {found:.2f}; correlation with the whole from {min(alike):.2f}")
    assert found < 1.1
    assert min(alike) > 0.9


def test_tiles_keep_the_colors_of_the_whole(photo: Photo, arbitrary: ArbitraryNet) -> None:
    content, style = photo("astronaut", 512), photo("coffee", 384)
    small = stylize_images(arbitrary, content[:384, :384].copy(), [(style, 1.0)])
    assert small.shape == (384, 384, 3)
    whole = stylize_images(arbitrary, photo("astronaut", 384), [(style, 1.0)])
    tiled = stylize_images(arbitrary, content, [(style, 1.0)])
    coarse = [image.reshape(8, n // 8, 8, n // 8, 3).mean(axis=(1, 3)) for image, n in ((whole, 384), (tiled, 512))]
    assert np.abs(coarse[0] - coarse[1]).max() < 0.1


@pytest.mark.parametrize("side", [64, 384, 385, 512, 640, 641, 1024, 2048])
def test_tiles_cover_and_overlap(side: int) -> None:
    starts = _starts(side, TILE)
    assert starts[0] == 0 and starts[-1] + TILE >= side
    assert all(b - a <= TILE - OVERLAP for a, b in pairwise(starts))


def test_the_fade_is_symmetric_and_nowhere_zero() -> None:
    fade = _fade(TILE)[..., 0]
    assert fade.min() > 0 and fade.max() == 1
    np.testing.assert_allclose(fade, fade[::-1, ::-1], rtol=1e-6)


@pytest.mark.parametrize(
    "weights, words",
    [(np.zeros(26), "26 numbers"), (np.ones(25), "26 numbers"), (-builtin(1), "26"), (np.full(26, np.nan), "26")],
)
def test_wrong_weights_are_refused(photo: Photo, multistyle: InferenceSession, weights: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stylize_builtin(multistyle, photo("chelsea", 64), weights)


def test_other_wrong_arguments_are_refused(photo: Photo, multistyle: InferenceSession, arbitrary: ArbitraryNet) -> None:
    content = photo("chelsea", 64)
    with pytest.raises(ValueError, match=r"strength must be from 0 to 1, not 1\.5"):
        stylize_builtin(multistyle, content, builtin(1), strength=1.5)
    with pytest.raises(ValueError, match="styles must be"):
        stylize_images(arbitrary, content, [])
    with pytest.raises(ValueError, match="content must be float32"):
        stylize_images(arbitrary, content.astype(np.float64), [(content, 1.0)])


def test_missing_networks_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"`python -m models.fetch fast-multistyle`"):
        load_multistyle(tmp_path)
    with pytest.raises(WeightsError, match=r"`python -m models.fetch fast-arbitrary`"):
        load_arbitrary(tmp_path)
