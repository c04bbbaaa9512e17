"""Members of a collection that a real worker has built: pages, images, near-duplicates and references."""

from io import BytesIO
from typing import Any
from zipfile import ZipFile

import httpx
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from api.collections import EXAMPLES
from api.members import DUPLICATES
from api.search import COLLECTION_ID, FOUND
from tests.api.conftest import data_url, image_file
from tests.stack import Stack

DIGITS: dict[str, Any] = {
    **{"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1, "data": "digits", "limit": 40, "seed": 1},
    **{"n_components": 5, "clusterings": [{"method": "kmeans", "n_clusters": 3}]},
}
UPLOAD = image_file(size=(40, 40))


@pytest.fixture(scope="module")
def collection_id(stack: Stack) -> str:
    """Forty digits, and in version 2 one upload."""
    job = stack.finished(stack.client.post("/v1/collections", json=DIGITS).json()["id"])
    assert job["status"] == "succeeded", job["error"]
    made = str(job["metrics"]["collection"])
    added = stack.client.post(f"/v1/collections/{made}/images", json={"images": [data_url(UPLOAD)], "seed": 1})
    assert stack.finished(added.json()["id"])["status"] == "succeeded"
    return made


@pytest.fixture(scope="module")
def photo_collection(stack: Stack) -> str:
    """Four images in the space of photographs."""
    job = stack.finished(stack.client.post("/v1/collections", json=EXAMPLES["photographs"]["value"]).json()["id"])
    assert job["status"] == "succeeded", job["error"]
    return str(job["metrics"]["collection"])


def get(stack: Stack, collection_id: str, path: str = "", **query: Any) -> httpx.Response:
    return stack.client.get(f"/v1/collections/{collection_id}/members{path}", params=query)


def page(stack: Stack, collection_id: str, **query: Any) -> dict[str, Any]:
    answer = get(stack, collection_id, **query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_members_of_photographs_have_classes(stack: Stack, photo_collection: str) -> None:
    members = page(stack, photo_collection)["members"]
    assert [len(member["classes"]) for member in members] == [3] * 4
    cat = members[0]["classes"][0]
    assert "cat" in cat["name"] and 0.5 < cat["probability"] <= 1
    assert page(stack, photo_collection, **{"class": cat["name"]})["members"] == members[:1]
    unknown = get(stack, photo_collection, **{"class": "unicorn"})
    assert error(unknown) == (422, "unknown_attribute") and cat["name"] in unknown.json()["error"]["details"]["allowed"]
    path = f"/v1/collections/{photo_collection}/export"
    table = pyarrow.parquet.read_table(BytesIO(stack.client.get(path).content))
    assert table["class_0"].to_pylist() == [member["classes"][0]["name"] for member in members]
    with np.load(BytesIO(stack.client.get(path, params={"format": "npz"}).content)) as arrays:
        assert arrays["members/classes"].shape == arrays["members/class_probabilities"].shape == (4, 3)


def test_pages_have_every_member_once(stack: Stack, collection_id: str) -> None:
    whole = page(stack, collection_id, limit=1000)
    assert (whole["version"], whole["total"], whole["next_cursor"]) == (2, 41, None)
    assert [member["id"] for member in whole["members"]] == list(range(41))
    parts: list[dict[str, Any]] = []
    cursor = None
    while parts == [] or cursor:
        part = page(stack, collection_id, limit=15, **({"cursor": cursor} if cursor else {}))
        parts, cursor = [*parts, *part["members"]], part["next_cursor"]
    assert parts == whole["members"]
    first, last = whole["members"][0], whole["members"][40]
    assert (first["name"], len(first["scores"]), len(first["map"]["tsne"])) == ("digits/0", 5, 2)
    assert first["clusters"]["kmeans"] in range(3) and 0 <= first["outlier_score"] < 1
    assert len(first["labels"]) == 1 and first["attributes"][first["labels"][0]] is True
    assert len(first["attributes"]) == 10 and sum(first["attributes"].values()) == 1
    assert last["name"].startswith("img_") and (last["labels"], last["attributes"]) == ([], {})
    assert page(stack, collection_id, version=1)["total"] == 40


def test_filters_select_and_the_most_isolated_come_first(stack: Stack, collection_id: str) -> None:
    members = page(stack, collection_id)["members"]
    inside = page(stack, collection_id, clustering="kmeans", cluster=1)
    assert inside["members"] == [member for member in members if member["clusters"]["kmeans"] == 1]
    threes = page(stack, collection_id, **{"with": "3"})["members"]
    assert threes == [member for member in members if "3" in member["labels"]] and threes
    others = page(stack, collection_id, **{"without": ["3", "4"], "cluster": 1})["members"]
    assert others == [m for m in inside["members"] if m["attributes"] and not {"3", "4"} & set(m["labels"])]
    isolated = page(stack, collection_id, order="outlier_score", limit=7)
    scores = [member["outlier_score"] for member in isolated["members"]]
    assert scores == sorted((member["outlier_score"] for member in members), reverse=True)[:7]
    following = page(stack, collection_id, order="outlier_score", limit=7, cursor=isolated["next_cursor"])
    assert not {m["id"] for m in isolated["members"]} & {m["id"] for m in following["members"]}


def test_what_is_refused_is_named(stack: Stack, collection_id: str) -> None:
    for query, code, field in (
        ({"cluster": 3}, "no_such_cluster", "cluster"),
        ({"cluster": 0, "clustering": "hdbscan"}, "unknown_clustering", "clustering"),
        ({"clustering": "kmeans"}, "invalid_request", "clustering"),
        ({"with": "hat"}, "unknown_attribute", "with"),
        ({"limit": 0}, "invalid_request", "limit"),
        ({"cursor": "x"}, "invalid_request", "cursor"),
        ({"color": "red"}, "invalid_request", "color"),
        ({"version": 3}, "no_such_version", "version"),
    ):
        answer = get(stack, collection_id, **query)
        assert error(answer) == (422, code), answer.text
        assert answer.json()["error"]["details"]["field"] == field
    assert error(get(stack, "col_" + "0" * 24)) == (404, "collection_not_found")
    assert error(get(stack, collection_id, "/41/thumbnail")) == (404, "member_not_found")
    assert error(get(stack, collection_id, "/40/thumbnail", version=1)) == (404, "member_not_found")


def test_images_of_members_are_those_that_were_encoded(stack: Stack, collection_id: str) -> None:
    member = page(stack, collection_id, limit=1)["members"][0]
    thumbnail = stack.client.get(member["thumbnail_url"])
    assert Image.open(BytesIO(thumbnail.content)).size == (48, 48) and thumbnail.headers["content-type"] == "image/jpeg"
    again = stack.client.get(member["thumbnail_url"], headers={"If-None-Match": thumbnail.headers["etag"]})
    assert again.status_code == 304 and "immutable" in again.headers["cache-control"]
    square = get(stack, collection_id, "/0/image")
    assert Image.open(BytesIO(square.content)).size == (16, 16) and square.headers["content-type"] == "image/png"
    uploaded = Image.open(BytesIO(get(stack, collection_id, "/40/image").content))
    assert uploaded.size == (40, 40), "an upload is returned as long as it is stored"
    assert get(stack, collection_id, "/0/image", version=1).content == square.content


def test_near_duplicates_are_pairs(stack: Stack, collection_id: str) -> None:
    path = f"/v1/collections/{collection_id}/duplicates"
    found = stack.client.get(path, params={"threshold": 0.5, "limit": 2}).json()
    distances = [pair["distance"] for pair in found["pairs"]]
    assert found["total"] > 2 and distances == sorted(distances) and found["next_cursor"] == "2"
    first, second = found["pairs"][0]["ids"]
    assert first < second and found["pairs"][0]["names"][0] == f"digits/{first}"
    assert stack.client.get(path, params={"threshold": 0}).json()["pairs"] == []


def test_a_member_is_an_image_of_a_request(stack: Stack, collection_id: str) -> None:
    transfer = {"method": "fast", "content": f"{collection_id}/40", "style": f"{collection_id}/0", "size": 64}
    answer = stack.client.post("/v1/style-transfers", json=transfer, headers={"Prefer": "wait=30"})
    assert answer.status_code == 200 and answer.json()["status"] == "succeeded", answer.text
    params = answer.json()["params"]
    assert params["content"] == page(stack, collection_id)["members"][40]["name"]
    square = get(stack, collection_id, "/0/image").content
    [style] = [style["image"] for style in params["style"]] if isinstance(params["style"], list) else [params["style"]]
    stored = stack.client.get(f"/v1/images/{style}/content").content
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(stored)).convert("RGB")), pixels(square))
    for reference, code in ((f"{collection_id}/41", "member_not_found"), (f"col_{'0' * 24}/1", "collection_not_found")):
        answer = stack.client.post("/v1/style-transfers", json=transfer | {"content": reference})
        assert error(answer) == (404, code) and answer.json()["error"]["details"]["field"] == "content"


def fields(value: Any, name: str = "") -> set[str]:
    """The names of all fields, with those that hold them; of a list those of its first element."""
    if isinstance(value, dict):
        return {each for key, inner in value.items() if key != "params" for each in fields(inner, f"{name}.{key}")}
    return fields(value[0], name) if isinstance(value, list) and value else {name}


def test_the_examples_of_answers_have_the_fields_of_answers(stack: Stack, collection_id: str) -> None:
    path = f"/v1/collections/{collection_id}"
    pairs = stack.client.get(f"{path}/duplicates", params={"threshold": 0.5})
    job = stack.client.post(f"{path}/search", json={"member": 0, "n": 2}, headers={"Prefer": "wait=30"})
    assert fields(DUPLICATES) == fields(pairs.json()) and fields(FOUND) <= fields(job.json())
    params = job.json()["params"] | {"collection": COLLECTION_ID, "version": 1, "seed": 7}
    assert FOUND["params"].items() <= params.items()


def test_a_search_answers_with_the_nearest_members(stack: Stack, collection_id: str) -> None:
    def found(**query: Any) -> list[dict[str, Any]]:
        path = f"/v1/collections/{collection_id}/search"
        answer = stack.client.post(path, json=query, headers={"Prefer": "wait=30"})
        assert answer.status_code == 200 and answer.json()["status"] == "succeeded", answer.text
        assert [output["role"] for output in answer.json()["outputs"]] == ["grid"]
        return list(answer.json()["metrics"]["matches"])

    of_member = found(member=3, n=40)
    distances = [match["distance"] for match in of_member]
    assert distances == sorted(distances) and {match["id"] for match in of_member} == set(range(41)) - {3}
    square = data_url(get(stack, collection_id, "/3/image").content)
    first, *others = found(image=square, n=6)
    assert (first["id"], first["name"], first["similarity"]) == (3, "digits/3", 1) and first["distance"] < 0.01
    assert [match["id"] for match in others] == [match["id"] for match in of_member[:5]]
    assert found(image=f"{collection_id}/3", n=1)[0]["id"] == 3
    inside = {member["id"] for member in page(stack, collection_id, cluster=1, without="3")["members"]}
    assert {match["id"] for match in found(vector=[0.5] * 256, cluster=1, without=["3"], n=50)} == inside


def export(stack: Stack, collection_id: str, **query: Any) -> httpx.Response:
    answer = stack.client.get(f"/v1/collections/{collection_id}/export", params=query)
    assert answer.status_code == 200, answer.text
    return answer


def test_exports_have_what_the_list_has(stack: Stack, collection_id: str) -> None:
    answer = export(stack, collection_id)
    table = pyarrow.parquet.read_table(BytesIO(answer.content))
    members = page(stack, collection_id)["members"]
    assert table["name"].to_pylist() == [member["name"] for member in members]
    assert table["kmeans"].to_pylist() == [member["clusters"]["kmeans"] for member in members]
    assert table["labels"].to_pylist() == [member["labels"] for member in members]
    assert (int(answer.headers["content-length"]), "parquet" in answer.headers["content-disposition"]) == (
        len(answer.content),
        True,
    )
    again = stack.client.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "private, no-cache")
    assert "immutable" in export(stack, collection_id, version=2).headers["cache-control"]
    with np.load(BytesIO(export(stack, collection_id, format="npz", version=1).content), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["members/vectors"], np.array(table["vector"].to_pylist(), "f4")[:40])
    atlas = pyarrow.parquet.read_table(BytesIO(export(stack, collection_id, format="atlas").content))
    thumbnail = stack.client.get(members[40]["thumbnail_url"]).content
    assert atlas["thumbnail"][40].as_py()["bytes"] == thumbnail
    assert "tensors.tsv" in ZipFile(BytesIO(export(stack, collection_id, format="projector").content)).namelist()


def test_components_explain_the_scores(stack: Stack, collection_id: str) -> None:
    path = f"/v1/collections/{collection_id}/components"
    bare = stack.client.get(path, params={"limit": 2}).json()
    assert (bare["dim"], bare["n_components"], bare["mean"], bare["next_cursor"]) == (256, 5, None, "2")
    found = stack.client.get(path, params={"vectors": True}).json()
    assert [{**each, "vector": None} for each in found["components"][:2]] == bare["components"]
    components = np.array([each["vector"] for each in found["components"]])
    with np.load(BytesIO(export(stack, collection_id, format="npz").content), allow_pickle=False) as arrays:
        scores = (arrays["members/vectors"] - found["mean"]) / found["scale"] @ components.T
    listed = [member["scores"] for member in page(stack, collection_id)["members"]]
    np.testing.assert_allclose(scores, listed, atol=1e-4)
    deviations = [each["standard_deviation"] for each in found["components"]]
    np.testing.assert_allclose(scores.std(0, ddof=1), deviations, atol=1e-4)


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))
