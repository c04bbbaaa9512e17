"""Data sets as people have them: what is read of each layout, and what is skipped."""

import json
from pathlib import Path

import pytest

from models.data.named import any_dataset
from models.data.pairs import sides_of
from models.errors import DataError
from models.training.classifier import questions_of
from tests.models.data.layouts import HALVES, IN_FOLDERS, ROWS, WET, N, codes, image, images, jsonl, read, table, values

CAPTIONS = [f"an image of number {number}, in gray" for number in range(N)]
CAPTIONED = {
    "metadata.jsonl": images(N)
    | {"metadata.jsonl": jsonl(*({"file_name": f"{i:02}.png", "text": CAPTIONS[i]} for i in range(N)))},
    "metadata.jsonl of a split": images(N, "train/{:02}.png")
    | {"train/metadata.jsonl": jsonl(*({"file_name": f"{i:02}.png", "text": CAPTIONS[i]} for i in range(N)))}
    | {"README.md": b"# A set"},
    "metadata.csv": images(N)
    | {"metadata.csv": table("file_name,text", *(f'{i:02}.png,"{CAPTIONS[i]}"' for i in range(N)))},
    "other columns": images(N)
    | {"metadata.csv": table("width,Caption,file_name", *(f'640,"{CAPTIONS[i]}",{i:02}.png' for i in range(N)))},
    "a title of one's own": images(N)
    | {"labels.csv": table("file;Beschreibung", *(f"{i:02}.png;{CAPTIONS[i]}" for i in range(N)))},
    "captions that are called labels": images(N)
    | {"labels.csv": table("file\tlabel", *(f"{i:02}.png\t{CAPTIONS[i]}" for i in range(N)))},
    "Flickr8k's captions.txt": images(N, "Images/{:02}.png")
    | {"captions.txt": table("image,caption", *(f'{i // 2:02}.png,"{CAPTIONS[i // 2]}"' for i in range(2 * N)))},
    "Flickr8k.token.txt": images(N, "Flicker8k_Dataset/{:02}.png")
    | {"Flickr8k.token.txt": table(*(f"{i // 2:02}.png#{i % 2}\t{CAPTIONS[i // 2]}" for i in range(2 * N)))},
    "Flickr30k's results.csv": images(N, "flickr30k_images/{:02}.png")
    | {
        "results.csv": table(
            "image_name| comment_number| comment",
            *(f"{i // 2:02}.png| {i % 2}| {CAPTIONS[i // 2]}" for i in range(2 * N)),
        )
    },
    "COCO's captions": images(N, "val2017/{:02}.png")
    | {
        "annotations/captions_val2017.json": json.dumps(
            {
                "images": [{"id": 7 * i, "file_name": f"{i:02}.png", "height": 12, "width": 12} for i in range(N)],
                "annotations": [{"image_id": 7 * i, "id": i, "caption": CAPTIONS[i]} for i in range(N)],
            }
        ).encode()
    },
    "kohya's metadata file": images(N)
    | {"meta_cap.json": json.dumps({f"/content/set/{i:02}": {"caption": CAPTIONS[i]} for i in range(N)}).encode()},
    "LLaVA's list": images(N, "images/{:02}.png")
    | {
        "set.json": json.dumps(
            [{"id": str(i), "image": f"{i:02}.png", "captions": [CAPTIONS[i], "other"]} for i in range(N)]
        ).encode()
    },
    "a.txt": images(N) | {f"{i:02}.txt": CAPTIONS[i].encode() for i in range(N)},
    "a.caption": images(N) | {f"{i:02}.caption": f"\ufeff{CAPTIONS[i]}\r\n".encode() for i in range(N)},
    "a.png.txt": images(N) | {f"{i:02}.png.txt": CAPTIONS[i].encode("utf-16") for i in range(N)},
    "captions in a folder": images(N, "images/{:02}.png")
    | {f"captions/{i:02}.txt": CAPTIONS[i].encode() for i in range(N)},
    "kohya's folder of repeats": images(N, "10_cat/{:02}.png")
    | {f"10_cat/{i:02}.txt": CAPTIONS[i].encode() for i in range(N)},
}


@pytest.mark.parametrize("files", CAPTIONED.values(), ids=CAPTIONED)
def test_captions_are_captions_and_never_classes(tmp_path: Path, files: dict[str, bytes]) -> None:
    found = read(tmp_path, files)
    assert values(found) == list(range(N))
    assert list(found.captions) == CAPTIONS
    assert found.label_names == () and found.attribute_names == ()
    assert found.report.skipped == () and codes(found) == []
    with pytest.raises(DataError, match="needs labels or attributes; captions such as 'an image of number 0"):
        questions_of(found)


# --- classes ---------------------------------------------------------------------------------------------------------

CLASSED = {
    "folders": IN_FOLDERS,
    "folders in a folder, a README beside": {f"pets/{name}": data for name, data in IN_FOLDERS.items()}
    | {"README": b""},
    "splits of folders": {f"train/{name}": data for name, data in IN_FOLDERS.items()}
    | {f"test/{name}": image(99) for name in IN_FOLDERS},
    "YOLO's classification": {f"set/images/{name}": data for name, data in IN_FOLDERS.items()},
    "kohya's folders": {f"{5 if 'cat' in name else 10}_{name}": data for name, data in IN_FOLDERS.items()}
    | {f"{5 if 'cat' in name else 10}_{name[:-4]}.txt": b"one" for name in IN_FOLDERS},
    "labels.csv": images(N) | {"labels.csv": table("file,label", *map(",".join, zip(ROWS, HALVES, strict=True)))},
    "no header": images(N) | {"labels.csv": table(*map(",".join, zip(ROWS, HALVES, strict=True)))},
    "pandas' index": images(N)
    | {"labels.csv": table(",file,label", *(f"{i},{ROWS[i]},{HALVES[i]}" for i in range(N)))},
    "Kaggle's train.csv without suffixes": images(N, "train/{:02}.png")
    | images(N, "test/9{:02}.png")
    | {"train.csv": table("id,breed", *(f"{i:02},{HALVES[i]}" for i in range(N)))}
    | {"sample_submission.csv": table("id,breed", *(f"9{i:02},cat" for i in range(N)))},
    "StyleGAN's dataset.json": images(N, "00000/img{:02}.png")
    | {
        "dataset.json": json.dumps(
            {"labels": [[f"00000/img{number:02}.png", number % 2] for number in range(N)]}
        ).encode()
    },
    "a list with spaces": images(N, "all/{:02}.png")
    | {"val.txt": table(*(f"all/{row} {half}" for row, half in zip(ROWS, HALVES, strict=True)))},
    "a column of splits": images(N)
    | images(2, "x{}.png")
    | {
        "metadata.csv": table(
            "file_name,split,label",
            *(f"{ROWS[i]},train,{HALVES[i]}" for i in range(N)),
            "x0.png,test,cat",
            "x1.png,val,cat",
        )
    },
}


@pytest.mark.parametrize("files", CLASSED.values(), ids=CLASSED)
def test_classes_are_attributes_too(tmp_path: Path, files: dict[str, bytes]) -> None:
    found = read(tmp_path, files)
    names = ("0", "1") if "dataset.json" in files else ("cat", "dog")
    assert found.label_names == names and len(found) == N
    assert [names[label] for label in found.labels] == [names[value % 2] for value in values(found)]
    assert questions_of(found) == [list(names)]
    assert found.attribute(names[1]).tolist() == [value % 2 == 1 for value in values(found)]


def test_a_zip_of_two_folders_is_a_cyclegans_data(tmp_path: Path) -> None:
    found = read(tmp_path, IN_FOLDERS)
    for attribute, kinds in ((None, ("cat", "dog")), ("dog", ("cat", "dog")), ("cat", ("dog", "cat"))):
        a, b, named = sides_of(found, attribute)
        assert named == kinds and {value % 2 for value in values(b)} == {int(kinds[1] == "dog")}
        assert len(a) == len(b) == N // 2


def test_cyclegans_own_layout(tmp_path: Path) -> None:
    sides = {"trainA": 10, "trainB": 8, "testA": 3, "testB": 3}
    found = read(tmp_path, {f"h2z/{side}/{i}.png": image(i) for side, n in sides.items() for i in range(n)})
    a, b, kinds = sides_of(found, None)
    assert (len(a), len(b), kinds) == (10, 8, ("A", "B"))
    assert found.report.warnings == (
        {
            "code": "splits_not_used",
            "message": "Only the images for training are used; 6 images in 'testA', 'testB' are left out.",
        },
    )


def test_more_classes_than_two_need_an_attribute(tmp_path: Path) -> None:
    found = read(tmp_path, {f"{name}/{i}.png": image(i) for name in "abc" for i in range(4)})
    with pytest.raises(DataError, match=r"two classes or an `attribute` are needed; there are .* 'a', 'b', 'c'$"):
        sides_of(found, None)
    a, b, kinds = sides_of(found, "b")
    assert (len(a), len(b), kinds) == (8, 4, ("no b", "b"))


def test_numbers_of_repeats_are_reported_where_they_differ(tmp_path: Path) -> None:
    assert codes(read(tmp_path, CLASSED["kohya's folders"])) == ["repeats_not_used"]
    ordered = read(tmp_path, {f"{k}_{name}/{i}.png": image(i) for k, name in enumerate("ab", 1) for i in range(4)})
    assert ordered.label_names == ("1_a", "2_b"), "numbers without captions may give an order"


def test_one_class_or_one_for_each_image_is_none(tmp_path: Path) -> None:
    one = read(tmp_path, images(N) | {"labels.csv": table("file,label", *(f"{row},cat" for row in ROWS))})
    with pytest.raises(DataError, match="all images have the label 'cat'"):
        questions_of(one)
    alone = read(tmp_path, images(N, "{0:02}/{0:02}.png"))
    assert alone.label_names == () and codes(alone) == ["folders_not_used"]
    with pytest.raises(DataError, match="20 images lie in 20 of them"):
        questions_of(alone)


def test_several_columns_of_words_need_one_called_label(tmp_path: Path) -> None:
    rows = [
        f"{row},{half},{'red' if i < 9 else 'blue'}" for i, (row, half) in enumerate(zip(ROWS, HALVES, strict=True))
    ]
    unclear = read(tmp_path, images(N) | {"labels.csv": table("file,kind,color", *rows)})
    assert unclear.label_names == () and codes(unclear) == ["columns_not_used"]
    with pytest.raises(DataError, match="'kind', 'color'; call the one that holds the classes `label`"):
        questions_of(unclear)
    assert read(tmp_path, images(N) | {"labels.csv": table("file,Label,color", *rows)}).label_names == ("cat", "dog")


def test_an_even_share_of_every_class_is_taken(tmp_path: Path) -> None:
    found = read(tmp_path, {f"{name}/{i:02}.png": image(i) for name in "ab" for i in range(30)}, limit=10)
    assert found.labels.tolist() == [0] * 5 + [1] * 5
    assert values(found)[:5] == [0, 6, 12, 18, 24]
    assert len(any_dataset(str(tmp_path / "set.zip"), size=4, channels=1, limit=10)) == 10


# --- attributes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ways", [("0", "1"), ("False", "True"), ("no", "Yes"), ("-1", "1"), ("0.0", "1.0"), ("-1.0", "1.0")]
)
def test_no_and_yes_are_written_in_many_ways(tmp_path: Path, ways: tuple[str, str]) -> None:
    rows = [f"{row},{ways[wet]},{half}" for row, wet, half in zip(ROWS, WET, HALVES, strict=True)]
    found = read(tmp_path, images(N) | {"metadata.csv": table("file_name,wet,animal", *rows)})
    assert found.attribute_names == ("wet",) and found.attribute("wet").tolist() == WET
    assert found.label_names == ("cat", "dog")


def test_json_has_values_of_its_own(tmp_path: Path) -> None:
    rows = [
        {"file_name": row, "wet": wet, "text": [caption, "b"], "box": {"x": 1}, "score": None, "size": 0.5 + i}
        for i, (row, wet, caption) in enumerate(zip(ROWS, WET, CAPTIONS, strict=True))
    ]
    found = read(tmp_path, images(N) | {"metadata.jsonl": jsonl(*rows)})
    assert found.attribute_names == ("wet",) and found.attribute("wet").tolist() == WET
    assert list(found.captions) == CAPTIONS
    assert [warning["message"] for warning in found.report.warnings] == [
        "These columns are neither the captions, 0/1 attributes nor the classes: 'size'."
    ]


def celeba(newline: str = "\n") -> bytes:
    rows = [f"{row}  {1 if wet else -1} -1" for row, wet in zip(ROWS, WET, strict=True)]
    return table(f"{N + 1}", "Wet Bald ", *rows, "not_here.jpg 1 1", newline=newline)


CELEBA = {
    "the authors'": images(N, "celeba/Img/img_align_celeba/{:02}.png")
    | {
        "celeba/Anno/list_attr_celeba.txt": celeba(),
        "celeba/Anno/identity_CelebA.txt": table(*(f"{r} 7" for r in ROWS)),
    },
    "with CRLF beside the images": images(N) | {"list_attr_celeba.txt": celeba("\r\n")},
    "Kaggle's": images(N, "img_align_celeba/img_align_celeba/{:02}.png")
    | {"list_attr_celeba.csv": table("image_id,Wet,Bald", *(f"{ROWS[i]},{1 if WET[i] else -1},-1" for i in range(N)))}
    | {"list_eval_partition.csv": table("image_id,partition", *(f"{row},{i % 3}" for i, row in enumerate(ROWS)))},
}


@pytest.mark.parametrize("files", CELEBA.values(), ids=CELEBA)
def test_celebas_layout(tmp_path: Path, files: dict[str, bytes]) -> None:
    found = read(tmp_path, files)
    assert found.attribute_names == ("Wet", "Bald") and found.label_names == ()
    assert found.attribute("Wet").tolist() == WET and not found.attribute("Bald").any()


def test_cocos_categories_are_attributes(tmp_path: Path) -> None:
    facts = [{"id": i, "file_name": row} for i, row in enumerate(ROWS)]
    things = {
        "images": facts,
        "categories": [{"id": 1, "name": "cat"}, {"id": 9, "name": "hat"}, {"id": 10, "name": "never"}],
        "annotations": [{"image_id": i, "category_id": 9 if WET[i] else 1, "bbox": [1, 2, 3, 4]} for i in range(N)],
    }
    captions = {"images": facts, "annotations": [{"image_id": i, "caption": CAPTIONS[i]} for i in range(N)]}
    both = {"annotations/instances.json": things, "annotations/captions.json": captions}
    found = read(
        tmp_path, images(N, "all/{:02}.png") | {name: json.dumps(facts).encode() for name, facts in both.items()}
    )
    assert found.attribute_names == ("cat", "hat") and found.attribute("hat").tolist() == WET
    assert list(found.captions) == CAPTIONS


# --- images that are no samples, names that are no classes -----------------------------------------------------------

CAPTIONED_PAIRS = [
    {"file_name": f"images/{row}", "conditioning_file_name": f"source/{row}", "text": caption}
    for row, caption in zip(ROWS, CAPTIONS, strict=True)
]
WITH_COMPANIONS = {
    "VOC": images(N, "VOC/JPEGImages/{:02}.png")
    | images(N, "VOC/SegmentationClass/{:02}.png")
    | {f"VOC/Annotations/{i:02}.xml": b"<a/>" for i in range(N)}
    | {"VOC/ImageSets/Main/train.txt": table("00", "01")},
    "Oxford's pets": images(N, "images/{:02}.png") | images(N, "annotations/trimaps/{:02}.png"),
    "masks in every split": images(N, "train/images/{:02}.png")
    | images(N, "train/masks/{:02}.png")
    | images(N, "test/images/{:02}.png")
    | images(N, "test/masks/{:02}.png"),
    "masks beside": images(N) | images(N, "{:02}_mask.png"),
    "OneTrainer": images(N) | images(N, "{:02}-masklabel.png") | {f"{i:02}.txt": b"a cat" for i in range(N)},
    "ControlNet": images(N, "images/{:02}.png")
    | images(N, "source/{:02}.png")
    | {"metadata.jsonl": jsonl(*CAPTIONED_PAIRS)},
    "a table of another name": images(N, "images/{:02}.png")
    | images(N, "padded/{:02}.png")
    | {
        "metadata1000.jsonl": jsonl(
            *({"caption": CAPTIONS[i], "image": f"images/{ROWS[i]}", "padded": f"padded/{ROWS[i]}"} for i in range(N))
        )
    },
}


@pytest.mark.parametrize("files", WITH_COMPANIONS.values(), ids=WITH_COMPANIONS)
def test_masks_and_their_like_are_no_samples(tmp_path: Path, files: dict[str, bytes]) -> None:
    found = read(tmp_path, files)
    assert values(found) == list(range(N)) and found.label_names == ()
    assert "companions_not_used" in codes(found)


def test_a_set_of_masks_alone_is_one(tmp_path: Path) -> None:
    assert read(tmp_path, images(N, "masks/{:02}.png")).label_names == ()
    found = read(tmp_path, images(10, "masks/{:02}.png") | images(10, "hats/{:02}.png"))
    assert found.label_names == ("hats", "masks") and len(found) == N


def test_folders_that_only_number_images_are_no_classes(tmp_path: Path) -> None:
    found = read(tmp_path, {f"{i // 4:05}/{i:05}.png": image(i) for i in range(N)})
    assert found.label_names == () and codes(found) == ["folders_not_used"]
    people = read(tmp_path, {f"{i // 4:05}/{i % 4:05}.png": image(i) for i in range(N)})
    assert len(people.label_names) == 5, "names that begin anew in each folder"


def test_classes_may_be_in_the_names_of_files(tmp_path: Path) -> None:
    found = read(tmp_path, {f"train/{HALVES[i]}.{i}.png": image(i) for i in range(N)} | images(4, "test/{}.png"))
    assert found.label_names == ("cat", "dog")
    assert [HALVES[value] for value in values(found)] == [found.label_names[label] for label in found.labels]
    assert read(tmp_path, images(N, "photo.{}.png")).label_names == ()


def test_llavas_conversations_are_captions(tmp_path: Path) -> None:
    rows = [
        {
            "id": row[:-4],
            "image": row,
            "conversations": [{"from": "human", "value": "<image>\nDescribe it."}, {"from": "gpt", "value": caption}],
        }
        for row, caption in zip(ROWS, CAPTIONS, strict=True)
    ]
    assert list(read(tmp_path, images(N) | {"chat.json": json.dumps(rows).encode()}).captions) == CAPTIONS


def test_roboflows_classes(tmp_path: Path) -> None:
    def classes(rows: list[str]) -> bytes:
        return table("filename, cat, dog", *(f"{row}, {int(i % 2 == 0)}, {i % 2}" for i, row in enumerate(rows)))

    valid = [f"9{row}" for row in ROWS]
    found = read(
        tmp_path,
        images(N, "train/{:02}.png")
        | images(N, "valid/9{:02}.png")
        | {"train/_classes.csv": classes(ROWS), "valid/_classes.csv": classes(valid), "README.roboflow.txt": b"x"},
    )
    assert found.attribute_names == ("cat", "dog") and len(found) == N
    assert found.attribute("dog").tolist() == [value % 2 == 1 for value in values(found)]
