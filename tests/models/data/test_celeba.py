import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.data.celeba import celeba
from models.errors import DataError

NAMES = ("5_o_Clock_Shadow", "Eyeglasses", "Male", "Smiling")
ROWS = {"000001.jpg": "-1  1 -1  1", "000002.jpg": " 1 -1  1 -1", "000003.jpg": "-1 -1 -1  1", "000004.jpg": "1 1 1 1"}
PARTS = (0, 0, 1, 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four faces in the layout: a bright square of 178 between dark strips of 20, grayer from one to the next."""
    (tmp_path / "img_align_celeba").mkdir()
    for i, name in enumerate(ROWS):
        pixels = np.zeros((218, 178, 3), np.uint8)
        pixels[20:198] = 250 - 40 * i
        Image.fromarray(pixels).save(tmp_path / "img_align_celeba" / name, quality=95)
    table = [str(len(ROWS)), " ".join(NAMES) + " ", *(f"{name} {row}" for name, row in ROWS.items())]
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(table) + "\n")
    parts = [f"{name} {part}" for name, part in zip(ROWS, PARTS, strict=True)]
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return tmp_path


def test_faces_are_the_center_square_with_their_attributes(root: Path) -> None:
    found = celeba(root, 32)
    assert found.images.shape == (4, 32, 32, 3)
    for i, image in enumerate(found.images):
        assert np.abs(image[2:-2].astype(int) - (250 - 40 * i)).max() <= 6  # no strip within the crop
    assert found.attribute_names == NAMES
    assert found.attribute("Eyeglasses").tolist() == [True, False, False, True]
    assert found.attribute("Smiling").tolist() == [True, False, True, True]


def test_attributes_are_chosen_and_ordered(root: Path) -> None:
    found = celeba(root, 8, attributes=["Smiling", "Male"])
    assert found.attribute_names == ("Smiling", "Male")
    assert found.attributes[0].tolist() == [True, False]
    assert celeba(root, 8, attributes=[]).attributes.shape == (4, 0)


def test_split_and_limit(root: Path) -> None:
    assert len(celeba(root, 8, limit=3)) == 3
    assert np.array_equal(celeba(root, 8, split="valid").images, celeba(root, 8).images[2:3])
    assert len(celeba(root, 8, split="train", limit=1)) == 1
    (root / "list_eval_partition.txt").unlink()
    assert len(celeba(root, 8)) == 4
    with pytest.raises(DataError, match=r"list_eval_partition\.txt is missing"):
        celeba(root, 8, split="test")
    with pytest.raises(ValueError, match="split must be one of train, valid, test or None, got 'all'"):
        celeba(root, 8, split="all")  # type: ignore[arg-type]


def test_an_unknown_attribute_is_named_with_those_there_are(root: Path) -> None:
    with pytest.raises(DataError, match=f"no attributes 'Beard'; there are {', '.join(NAMES)}"):
        celeba(root, 8, attributes=["Male", "Beard"])


def test_a_missing_or_damaged_image_is_named(root: Path) -> None:
    image = root / "img_align_celeba" / "000003.jpg"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(DataError, match=r"img_align_celeba/000003\.jpg: The JPEG file's image data is damaged"):
        celeba(root, 8)
    image.unlink()
    with pytest.raises(DataError, match=r"1 images are missing from img_align_celeba: '000003\.jpg'"):
        celeba(root, 8)
    assert len(celeba(root, 8, limit=2)) == 2


def test_no_tables_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt is missing"):
        celeba(tmp_path, 8)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("list_attr_celeba.txt", "4\n", "5\n", "declares 5 images and names 4"),
        ("list_attr_celeba.txt", "4\n5_o", "5_o", "must start with the number"),
        ("list_attr_celeba.txt", " 1 -1  1 -1", " 1 -1  1", "row 4: a file name and 4 values"),
        ("list_attr_celeba.txt", " 1 -1  1 -1", " 1 -1  1 0", "row 4: a file name and 4 values"),
        ("list_eval_partition.txt", "000003.jpg 1", "000003.jpg 7", "row 3: a file name and 0, 1 or 2"),
        ("list_eval_partition.txt", "000003.jpg 1\n", "", "no row for '000003.jpg'"),
    ],
)
def test_tables_out_of_the_layout(root: Path, file: str, old: str, new: str, message: str) -> None:
    path = root / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=re.escape(message)):
        celeba(root, 8, split="train")


def test_names_that_leave_the_folder_are_refused(root: Path) -> None:
    path = root / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("000001.jpg", "../000001.jpg"))
    with pytest.raises(DataError, match="files outside img_align_celeba"):
        celeba(root, 8)
