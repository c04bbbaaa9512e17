"""Colors of every profile become those of sRGB."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from images.decode import decode
from tests.images.crafted import RGB, Array, decoded, pixels, save, srgb_profile
from tests.images.profiles import DISPLAY_P3, LINEAR_GRAY, press

# Profiles


def in_srgb_of_p3(color: tuple[int, int, int]) -> Array:
    """Display P3 of gamma 2.2 in sRGB, by the matrices of CSS Color 4."""
    to_srgb = np.array([[1.2249, -0.2249, 0], [-0.0420, 1.0420, 0], [-0.0196, -0.0786, 1.0982]])
    linear = np.clip(to_srgb @ (np.array(color) / 255) ** 2.2, 0, 1)
    curve: Array = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * curve).round()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_a_wide_profile_is_converted_in_every_format(format: str) -> None:
    color = (200, 90, 60)
    qualities: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 100},
        "AVIF": {"quality": 100},
    }
    options = qualities.get(format, {})
    data = save(Image.new("RGB", (32, 32), color), format, icc_profile=DISPLAY_P3, **options)
    assert np.abs(decoded(data)[16, 16] - in_srgb_of_p3(color)).max() <= 3


@pytest.mark.parametrize("mode", ["P", "RGBA", "L"])
def test_a_profile_of_rgb_holds_for_palettes_alpha_and_gray(mode: str) -> None:
    color = (128, 128, 128) if mode == "L" else (200, 90, 60)
    image = Image.new("RGB", (32, 32), color)
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    found = np.asarray(decode(save(image, "PNG", icc_profile=DISPLAY_P3)).image)[16, 16]
    assert np.abs(found[:3] - in_srgb_of_p3(color)).max() <= 2
    assert mode != "RGBA" or found[3] == 100


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_a_gray_profile_is_converted(format: str) -> None:
    """Half of the light is 188 of 255 in sRGB; 64 of 255 are 137."""
    for level, expected in ((128, 188), (64, 137), (0, 0), (255, 255)):
        data = save(Image.new("L", (32, 32), level), format, icc_profile=LINEAR_GRAY)
        assert np.abs(decoded(data)[16, 16].astype(int) - expected).max() <= 2


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_a_profile_of_a_press_is_converted(format: str) -> None:
    """L = 50 is 119 of 255 in sRGB, 60 is 145, 70 is 171; the plain formula would give pure cyan and so on."""
    for ink, expected in ((0, 119), (1, 145), (2, 171), (3, 0)):
        samples = np.zeros((32, 32, 4), np.uint8)
        samples[..., ink] = 255
        data = save(Image.fromarray(samples, "CMYK"), format, icc_profile=press())
        assert np.abs(decoded(data)[16, 16].astype(int) - expected).max() <= 4


def test_profiles_that_cannot_be_used_are_ignored() -> None:
    noise = bytes(16) + b"RGB " + bytes(200)
    programs = srgb_profile() + b"mpet" + bytes(100_000)  # elements that are programs, too long
    for profile in (noise, press(), LINEAR_GRAY, DISPLAY_P3[:140], programs, DISPLAY_P3 + bytes(5 << 20)):
        assert (
            np.abs(
                decoded(save(RGB, "JPEG", quality=100, subsampling=0, icc_profile=profile)).astype(int) - pixels()
            ).max()
            <= 4
        )
