from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from models.build import load_model
from models.catalogue import card
from models.errors import NotFiniteError
from models.tensors import expect_class
from models.upscale import tiles
from models.upscale.real_esrgan import RRDBNet, SRVGGNetCompact, Upscaler
from models.upscale.tiles import Span, spans, upscale


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, a tile and the whole give the same levels of 255, or neighbors of them."""
    monkeypatch.setenv("ATELIER_DTYPE", "float32")


@pytest.fixture(scope="module")
def compact(weights_dir: Path) -> Upscaler:
    return expect_class(load_model(card("realesr-animevideov3"), weights_dir), Upscaler)


def photo(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[60 : 60 + height, 180 : 180 + width])[None]


def test_a_small_image_is_one_tile() -> None:
    assert spans(5, 8, 2) == [Span(0, 5, 0, 5)]
    assert spans(8, 8, 2) == [Span(0, 8, 0, 8)]


def test_two_tiles_are_kept_up_to_the_middle_of_their_overlap() -> None:
    assert spans(10, 8, 2) == [Span(0, 8, 0, 5), Span(2, 10, 5, 10)]


@pytest.mark.parametrize("side", range(1, 200, 7))
def test_every_pixel_is_kept_once_with_the_overlap_around_it(side: int) -> None:
    tile, overlap = 40, 9
    found = spans(side, tile, overlap)
    assert [pixel for span in found for pixel in range(span.first, span.last)] == list(range(side))
    for span in found:
        assert span.end - span.start == min(side, tile)
        assert span.start == 0 or span.first - span.start >= overlap
        assert span.end == side or span.end - span.last >= overlap


def test_a_tiled_image_has_no_seams(compact: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    image = photo(50, 109)
    whole = upscale(compact, image)
    monkeypatch.setattr(tiles, "TILE", 64)
    reports: list[tuple[int, int]] = []
    tiled = upscale(compact, image, lambda *report: reports.append(report))
    assert whole.shape == tiled.shape == (1, 200, 436, 3)
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    assert reports == [(3, 3)]


def test_an_image_of_a_batch_is_the_one_it_is_alone(compact: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.concatenate([photo(24, 31), photo(24, 31)[:, ::-1], photo(24, 31)[:, :, ::-1]])
    monkeypatch.setattr(tiles, "BATCH_PIXELS", 2 * 24 * 31)
    reports: list[tuple[int, int]] = []
    batched = upscale(compact, images, lambda *report: reports.append(report))
    assert reports == [(2, 3), (3, 3)]
    for image, alone in zip(batched, (upscale(compact, images[k : k + 1])[0] for k in range(3)), strict=True):
        assert np.abs(image.astype(int) - alone).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2)])
def test_the_smallest_images_are_upscaled_too(size: tuple[int, int]) -> None:
    images = np.full((1, *size, 3), 128, np.uint8)
    for network in (SRVGGNetCompact(4, 1), RRDBNet(4, 1, 2)):
        assert upscale(network, images).shape == (1, 4 * size[0], 4 * size[1], 3)


def test_a_network_that_is_not_finite_is_reported() -> None:
    network = SRVGGNetCompact(4, 1)
    torch.nn.init.constant_(network.body[0].weight, torch.inf)  # type: ignore[arg-type]
    with pytest.raises(NotFiniteError):
        upscale(network, photo(8, 8))


def test_a_gray_image_of_a_batch_stays_gray(compact: Upscaler) -> None:
    color = photo(24, 24)
    gray = color[..., 1:2].repeat(3, 3)
    result = upscale(compact, np.concatenate([color, gray]))
    assert (result[1] == result[1][..., :1]).all() and not (result[0] == result[0][..., :1]).all()
