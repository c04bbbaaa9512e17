"""Tables beside the images: attributes, labels and captions."""

import re

import pytest

from models.data.folder import image_folder
from models.errors import DataError
from tests.models.data.packed import BLUE, RED, TWO, Pack, image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


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
