import io
import re
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from images.sniff import FORMATS
from models.data.archive import Limits
from models.data.dataset import listed, ordered
from models.data.folder import image_folder
from models.data.image import read_image
from models.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")

Pack = Callable[[dict[str, bytes]], Path]
RED, GREEN, BLUE = (200, 30, 20), (20, 180, 40), (30, 40, 210)


def image(color: tuple[int, ...] = RED, size: tuple[int, int] = (20, 20), format: str = "PNG") -> bytes:
    return encoded(Image.new("RGB" if len(color) == 3 else "RGBA", size, color), format)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    if format == "HEIC":
        pillow_heif.from_pillow(image).save(file, quality=90)
    else:
        image.save(file, format, **options)
    return file.getvalue()


@pytest.fixture(params=["folder", "zip"])
def pack(request: pytest.FixtureRequest, tmp_path: Path) -> Pack:
    """Writes files by name, as a folder or as a zip file, and gives its path."""

    def as_folder(files: dict[str, bytes]) -> Path:
        for name, data in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path / "set"

    return as_folder if request.param == "folder" else lambda files: zipped(tmp_path, files)


def zipped(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return folder / "set.zip"


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
    for image in (pixels, pixels.transpose(1, 0, 2)):
        assert read_image(encoded(Image.fromarray(image)), 10, 3).min() == 255


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


def test_mutated_bytes_raise_nothing_but_data_errors() -> None:
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


# --- tables ----------------------------------------------------------------------------------------------------------

TWO = {"a.png": image(RED), "b.png": image(BLUE)}


@pytest.mark.parametrize("table", ["labels.csv", "metadata.csv"])
def test_a_table_gives_attributes_labels_and_captions(pack: Pack, table: str) -> None:
    text = '\ufefffile_name,hat,caption,Old,kind\r\nb.png,1,"blue, ""very""",false,cup\r\n\r\na.png,0,red,TRUE,bowl\r\n'
    found = image_folder(pack(TWO | {table: text.encode()}), 8)
    assert found.attribute_names == ("hat", "Old")
    assert found.attributes.tolist() == [[False, True], [True, False]]
    assert found.captions == ("red", 'blue, "very"')
    assert found.label_names == ("bowl", "cup") and found.labels.tolist() == [0, 1]


def test_a_table_in_a_zip_may_name_images_in_folders(pack: Pack) -> None:
    files = {"set/images/a.png": image(RED), "set/more/b.png": image(BLUE)}
    found = image_folder(pack(files | {"set/labels.csv": b"file,label\nimages/a.png,0\nb.png,1\n"}), 8)
    assert found.label_names == ("0", "1") and found.labels.tolist() == [0, 1]
    assert found.attribute_names == ()


def test_a_column_of_numbers_is_a_label(pack: Pack) -> None:
    found = image_folder(pack(TWO | {"labels.csv": b"file,digit\na.png,10\nb.png,9\n"}), 8)
    assert found.label_names == ("9", "10") and found.labels.tolist() == [1, 0]


def test_a_table_of_captions_alone(pack: Pack) -> None:
    found = image_folder(pack(TWO | {"labels.csv": b"file,caption\na.png,one\nb.png,\n"}), 8)
    assert found.captions == ("one", "") and len(found.labels) == 0 and found.attributes.shape == (0, 0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"file,hat\na.png,1\n", "1 of 2 images cannot be used: 'b.png': no row in the table"),
        (
            b"file,hat\na.png,1\nb.png,0\nc.png,0\n../d.png,1\n",
            "labels.csv: 2 of 4 rows cannot be used: 'c.png': a row of labels.csv without an image; '../d.png'",
        ),
        (b"file,hat\na.png,1\nb.png,0\na.png,0\n", "'a.png': more than one row, and column 'hat' differs in them"),
        (b"file,hat\na.png,1\nb.png\n", "row 3': 1 cells; the header has 2"),
        (b"file,hat\na.png,1\nb.png,\n", "'b.png': column 'hat' is empty"),
        (b"file,hat\na.png,1\nb.png,yes\n", "column 'hat' mixes 0/1/true/false with 'yes'"),
        (b"file,hat,hat\na.png,1,1\nb.png,1,1\n", "two columns have the same name"),
        (b"", "the file is empty"),
        (b"file,hat\na.png,\x81\n", "not a text in UTF-8, UTF-16 or Windows-1252"),
        (b"file,hat\na.png,\0\n", "not a text in UTF-8, UTF-16 or Windows-1252"),
        (b'file,hat\na.png,"1\n', "not a CSV file"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(pack: Pack, table: bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        image_folder(pack(TWO | {"labels.csv": table}), 8)


def test_two_tables_are_one_too_many(pack: Pack) -> None:
    with pytest.raises(DataError, match=r"both labels\.csv and metadata\.csv"):
        image_folder(pack(TWO | {"labels.csv": b"f\n", "metadata.csv": b"f\n"}), 8)


def test_a_name_without_folder_must_be_clear(pack: Pack) -> None:
    files = {"x/a.png": image(), "y/a.png": image(), "labels.csv": b"file,label\na.png,cup\n"}
    with pytest.raises(DataError, match=r"'a\.png': a row of labels\.csv without an image"):
        image_folder(pack(files), 8)


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_too_few_or_none(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 2 images; at least 3 are needed"):
        image_folder(pack(TWO), 8, minimum=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds 0 images; at least 1 are needed"):
        image_folder(tmp_path / "empty", 8, minimum=0)
    with pytest.raises(DataError, match="no folder or zip file 'absent'"):
        image_folder(tmp_path / "absent", 8)


def test_channels_are_one_or_three(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 4"):
        image_folder(tmp_path, 8, channels=4)


def test_entries_and_bytes_are_bounded(pack: Pack) -> None:
    path = pack({f"{i}.png": image() for i in range(6)})
    assert len(image_folder(path, 8, limits=Limits(entries=6))) == 6
    with pytest.raises(DataError, match="holds more than 5 files"):
        image_folder(path, 8, limits=Limits(entries=5))
    with pytest.raises(DataError, match=r"6 of 6 images .*'0\.png': more than 50 bytes"):
        image_folder(path, 8, limits=Limits(file_bytes=50))
    with pytest.raises(DataError, match="more than 200 bytes in all"):
        image_folder(path, 8, limits=Limits(total_bytes=200))
    with pytest.raises(DataError, match="20 x 20 pixels; 399 in all"):
        image_folder(path, 8, limits=Limits(pixels=399))


def test_a_zip_bomb_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a.png": bytes(300 << 20), "b.png": bytes(1)})
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(DataError, match=r"'a\.png': more than 4194304 bytes"):
        image_folder(path, 8, limits=Limits(file_bytes=4 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_a_zip_that_declares_fewer_bytes_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a.png": bytes(1 << 20)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 1 << 20), struct.pack("<I", 10)))
    with pytest.raises(DataError, match=r"'a\.png': damaged in the zip file"):
        image_folder(path, 8)


def test_a_directory_of_millions_is_not_even_read(tmp_path: Path) -> None:
    path = zipped(tmp_path, {f"{i}.png": b"" for i in range(3000)})
    tracemalloc.start()
    with pytest.raises(DataError, match="holds more than 5 files"):
        image_folder(path, 8, limits=Limits(entries=5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_names_in_a_zip_reach_no_path(tmp_path: Path) -> None:
    names = ["../../evil.png", "/abs/a.png", "C:\\win\\b.png", "ok/c.png", "ok/../../../d.png"]
    (tmp_path / "in").mkdir()
    path = zipped(tmp_path / "in", dict.fromkeys(names, image()))
    before = sorted(tmp_path.rglob("*"))
    found = image_folder(path, 8)
    assert found.label_names == ("C:", "abs", "ok") and len(found) == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_zip_files_that_cannot_be_read_in_place(tmp_path: Path) -> None:
    (tmp_path / "not.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(DataError, match=r"not\.zip is not a whole zip file"):
        image_folder(tmp_path / "not.zip", 8)
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", image())
    with pytest.raises(DataError, match=r"'a\.png': compressed in another way than deflate"):
        image_folder(tmp_path / "lzma.zip", 8)
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.png", image())
        archive.writestr("a.png", image())
    with pytest.raises(DataError, match=r"'a\.png': an earlier file of the same name"):
        image_folder(tmp_path / "twice.zip", 8)


def test_damage_in_a_zip_names_the_file(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a.png": image(), "b.png": image(BLUE)})
    data = bytearray(path.read_bytes())
    place = data.index(b"a.png") + 20
    data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"1 of 2 images cannot be used: 'a\.png': damaged in the zip file"):
        image_folder(path, 8)


def test_an_encrypted_entry_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a.png": image()})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"'a\.png': encrypted"):
        image_folder(path, 8)


def test_names_are_listed_and_ordered() -> None:
    assert listed(["a", "b\n"]) == "'a', 'b\\n'"
    assert listed([str(i) for i in range(12)]).endswith("'9' and 2 more")
    assert len(listed(["x" * 5000])) < 130
    assert ordered(["10", "9", "10"]) == ("9", "10")
    assert ordered(["b", "10", "9"]) == ("10", "9", "b")
