"""Large images are reduced, or refused before they fill the memory."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from images.decode import decode, over_white
from images.errors import ImageError
from tests.images.crafted import RGB, chunk, save, tiff, webp
from tests.stack import ROOT

# Large images


def test_a_large_image_is_reduced_and_says_so() -> None:
    y, x = np.mgrid[:120, :160]
    image = Image.fromarray(np.stack([x, y, (x + y) // 2], axis=2).astype(np.uint8))
    for format in ("PNG", "JPEG", "BMP", "TIFF", "HEIC"):
        whole = over_white(decode(save(image, format)).image)
        found = decode(save(image, format), kept_pixels=120 * 160 // 3)
        assert (found.image.size, found.source_size) == ((80, 60), (160, 120))
        assert np.abs(np.asarray(found.image).astype(int) - np.asarray(whole.reduce(2))).max() <= (
            0 if format in ("PNG", "BMP", "TIFF") else 6
        )


def test_what_is_transparent_does_not_color_what_is_reduced() -> None:
    image = Image.new("RGBA", (64, 64), (200, 0, 0, 255))
    image.paste((0, 255, 0, 0), (1, 0, 64, 64))
    found = decode(save(image, "PNG"), kept_pixels=32 * 32).image.getpixel((0, 9))
    assert isinstance(found, tuple) and abs(found[3] - 128) <= 1 and found[0] >= 198 and found[1] <= 1


def test_an_orientation_holds_for_the_size_of_the_source() -> None:
    from tests.images.crafted import exif

    found = decode(save(RGB, "JPEG", exif=exif(6)), kept_pixels=400)
    assert (found.source_size, found.image.size) == ((32, 48), (16, 24))


def test_formats_whose_decoders_take_more_memory_have_a_lower_limit() -> None:
    avif = save(RGB, "AVIF").replace(struct.pack(">II", 48, 32), struct.pack(">II", 5008, 5008))
    for data in (webp(5008, 5008), avif, tiff(5008, 5008)):
        with pytest.raises(ImageError) as error:
            decode(data)
        assert (error.value.code, error.value.details["max_pixels"]) == ("image_too_large", 25_000_000)


def test_an_avif_may_not_hold_a_larger_frame_than_is_allowed_whatever_it_declares() -> None:
    data = save(Image.new("RGB", (640, 480)), "AVIF")
    small = data.replace(struct.pack(">II", 640, 480), struct.pack(">II", 64, 64))
    assert small != data
    with pytest.raises(ImageError, match="The image has 640 x 480 pixels; 10000 in all are allowed"):
        decode(small, max_pixels=10_000)


def test_a_progressive_jpeg_must_fit_into_memory_whole() -> None:
    """8192 x 8192 at 4:4:4 takes 400 MB as coefficients. Only its header and scans are written here."""
    data = bytearray(save(Image.new("RGB", (64, 64)), "JPEG", progressive=True, subsampling=0))
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", 8192, 8192)
    with pytest.raises(ImageError, match="baseline, not progressive") as error:
        decode(bytes(data))
    assert error.value.code == "image_too_large"


LARGEST = """
import sys
from pathlib import Path
from images.decode import decode
for path in sys.argv[1:]:
    found = decode(Path(path).read_bytes())
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
    print(*found.source_size, *found.image.size, peak)
"""


def test_the_largest_images_are_decoded_within_bounded_memory(tmp_path: Path) -> None:
    """A phone's photo of 48 megapixels, and the largest PNG with alpha and WebP that are taken."""
    packer, row = zlib.compressobj(1), b"\0" + bytes((90, 120, 60, 200)) * 8192
    raw = b"".join(packer.compress(row) for _ in range(8192)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8192, 8192, 8, 6, 0, 0, 0))
    rgba = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", raw) + chunk(b"IEND", b"")
    photo = save(Image.new("RGB", (8064, 6048), (90, 120, 60)), "JPEG")
    webp = save(Image.new("RGB", (5000, 5000), (90, 120, 60)), "WEBP", lossless=True, quality=0, method=0)
    sizes = [(8064, 6048, 4032, 3024), (8192, 8192, 4096, 4096), (5000, 5000, 5000, 5000)]
    for number, data in enumerate((photo, rgba, webp)):
        (tmp_path / str(number)).write_bytes(data)
    command = [sys.executable, "-c", LARGEST, *(str(tmp_path / str(number)) for number in range(3))]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    lines = [tuple(map(int, line.split())) for line in run.stdout.splitlines()]
    print(run.stdout)
    assert [line[:4] for line in lines] == sizes
    assert lines[0][4] < 200 and lines[-1][4] < 505  # of which Python and its libraries have 50
