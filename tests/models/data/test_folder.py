"""Images in folders and zip files: names, labels, formats and damage."""

import io
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from images.sniff import FORMATS
from models.data.folder import image_folder
from models.data.image import read_image
from models.errors import DataError
from tests.models.data.packed import BLUE, GREEN, RED, Pack, encoded, image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def colors(images: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(int(v) for v in image[4, 4]) for image in images]


def test_sub_folders_are_labels_and_names_give_the_order(pack: Pack) -> None:
    path = pack({"dog/b.png": image(BLUE), "cat/deep/a.png": image(RED), "cat/a.png": image(GREEN)})
    found = image_folder(path, 8)
    assert found.images.shape == (3, 8, 8, 3) and found.images.dtype == np.uint8
    assert colors(found.images) == [GREEN, RED, BLUE]
    assert found.label_names == ("cat", "dog") and found.labels.tolist() == [0, 0, 1]
    assert found.labels.dtype == np.int64


def test_images_without_folders_or_table_have_no_labels(pack: Pack) -> None:
    found = image_folder(pack({"b.png": image(), "a.png": image(), "notes.txt": b"mine"}), 8)
    assert len(found) == 2 and len(found.labels) == 0 and found.label_names == ()


def test_one_folder_around_everything_is_no_label(pack: Pack) -> None:
    found = image_folder(pack({"my set/10/a.png": image(), "my set/9/a.png": image(), "my set/README": b""}), 8)
    assert found.label_names == ("9", "10") and found.labels.tolist() == [1, 0]


def test_hidden_files_are_passed_over(pack: Pack) -> None:
    hidden = ["__MACOSX/cat/._a.png", ".DS_Store", "cat/.hidden.png", ".git/x.png", "cat/Thumbs.db"]
    found = image_folder(pack({"cat/a.png": image(), "dog/a.png": image(), **dict.fromkeys(hidden, b"?")}), 8)
    assert len(found) == 2


def test_folders_are_no_classes_where_many_images_lie_beside_them(pack: Pack) -> None:
    found = image_folder(pack({"a.png": image(), "cat/b.png": image()}), 8)
    assert len(found) == 2 and found.label_names == ()
    (warning,) = found.report.warnings
    assert warning["code"] == "folders_not_used"
    assert "1 of 2 images lie in none of them: 'a.png'" in warning["message"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_is_read(format: str, channels: int) -> None:
    found = read_image(image(RED, (40, 30), format), 16, channels).astype(int)
    assert found.shape == (16, 16, channels)
    expected = RED if channels == 3 else (0.299 * 200 + 0.587 * 30 + 0.114 * 20,)
    assert np.abs(found - expected).max() <= 4


def test_other_formats_are_refused_whatever_their_name(pack: Pack) -> None:
    ppm = encoded(Image.new("RGB", (20, 20)), "PPM")
    named = r"2 of 2 images.*'a\.heic': The HEIC file's header cannot be read.*'b\.png': .*Netpbm image, not"
    with pytest.raises(DataError, match=named):
        image_folder(pack({"a.heic": b"....ftypheic", "b.png": ppm}), 8)


def test_the_center_square_is_taken() -> None:
    pixels = np.zeros((30, 50, 3), np.uint8)
    pixels[:, 10:40] = 255
    for each in (pixels, pixels.transpose(1, 0, 2)):
        assert read_image(encoded(Image.fromarray(each)), 10, 3).min() == 255


def test_resizing_is_lanczos_without_aliasing() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8))
    found = read_image(encoded(image), 24, 3)
    assert np.array_equal(found, np.asarray(image.resize((24, 24), Image.Resampling.LANCZOS)))
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(read_image(encoded(Image.fromarray(stripes)), 8, 1)[:, 1:-1]) <= 16


def test_a_large_jpeg_is_close_to_what_the_whole_decode_gives() -> None:
    y, x = np.mgrid[:1200, :1600] / 200
    pixels = 127 + 120 * np.stack([np.sin(x), np.cos(y), np.sin(x * y)], -1)
    data = encoded(Image.fromarray(pixels.astype(np.uint8)), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as image:
        whole = image.crop((200, 0, 1400, 1200)).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.abs(read_image(data, 32, 3).astype(int) - np.asarray(whole)).max() <= 6


STORED = {  # how an upright image is turned to be stored under each orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, format: str) -> None:
    upright = np.full((32, 32, 3), 40, np.uint8)
    upright[:16, :16], upright[:16, 16:] = (250, 250, 250), (130, 130, 130)
    stored = Image.fromarray(upright)
    if orientation in STORED:
        stored = stored.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read_image(encoded(stored, format, exif=exif), 32, 3).astype(int)
    assert np.abs(found[4:12, 4:12] - 250).max() <= 12
    assert np.abs(found[4:12, 20:28] - 130).max() <= 12
    assert np.abs(found[20:28, 4:28] - 40).max() <= 12


def test_alpha_lies_over_white() -> None:
    assert read_image(image((0, 0, 0, 0)), 8, 3).min() == 255
    half = read_image(image((0, 0, 0, 128)), 8, 1)
    assert np.abs(half.astype(int) - 127).max() <= 1
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([9, 9, 9, 0, 0, 0])
    assert read_image(encoded(palette, "GIF", transparency=1), 8, 3).min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_becomes_gray_or_rgb(mode: str) -> None:
    image = Image.new(mode, (20, 20)) if mode != "I;16" else Image.fromarray(np.full((20, 20), 0x8000, np.uint16))
    format = "TIFF" if mode in ("F", "CMYK") else "PNG"
    for channels in (1, 3):
        found = read_image(encoded(image, format), 8, channels)
        assert found.shape == (8, 8, channels)
        assert mode != "I;16" or np.all(found == 0x80)


def test_damaged_images_are_listed_up_to_ten(pack: Pack) -> None:
    whole = image(size=(64, 64))
    files = {f"{i:02}.png": whole[: len(whole) // 2] for i in range(12)} | {"good.png": whole}
    with pytest.raises(DataError, match=r"12 of 13 images cannot be used: '00\.png': .*'09\.png'.*and 2 more") as e:
        image_folder(pack(files), 8)
    assert "'10.png'" not in str(e.value) and "good" not in str(e.value)


def test_every_cut_of_every_format_is_refused_or_read() -> None:
    for format in FORMATS:
        data = image(GREEN, (32, 32), format)
        for end in range(0, len(data), max(1, len(data) // 40)):
            try:
                assert read_image(data[:end], 8, 3).shape == (8, 8, 3)
            except DataError:
                continue


def test_mutated_bytes_raise_only_data_errors() -> None:
    rng = np.random.default_rng(0)
    for format in FORMATS:
        noise = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
        data = encoded(noise, format)
        for _ in range(150):
            mutated = bytearray(data)
            for place in rng.integers(0, len(data), 6):
                mutated[place] = rng.integers(256)
            try:
                read_image(bytes(mutated), 8, 3, max_pixels=1 << 20)
            except DataError:
                continue


@pytest.mark.parametrize("side", [12_000, 30_000])  # Pillow alone refuses only the second
def test_pixels_are_counted_before_any_is_decoded(side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    tracemalloc.start()
    with pytest.raises(DataError, match="pixels; 67108864 in all are allowed"):
        read_image(bomb, 8, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_jpeg_of_many_scans_is_refused() -> None:
    data = encoded(Image.new("L", (64, 64)), "JPEG", progressive=True)
    scan = re.search(rb"\xff\xda\0\x08.*?(?=\xff[^\0])", data, re.DOTALL)
    assert scan is not None
    with pytest.raises(DataError, match="more than 100 scans"):
        read_image(data[:-2] + scan[0] * 101 + data[-2:], 8, 3)
