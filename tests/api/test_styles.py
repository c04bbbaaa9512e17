"""Kept styles through the real stack: from a sample of a cluster of styles to transfers with it."""

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.style_transfers import CAT, COFFEE
from tests.api.conftest import WAIT
from tests.stack import Stack

NOBODY = "sty_" + "0" * 24


@pytest.fixture(scope="module")
def sampled(stack: Stack) -> dict[str, Any]:
    """A finished job with four samples of styles."""
    styles = {
        **{"name": "Styles", "space": "style", "data": "flowers", "limit": 16, "n_components": 3, "seed": 1},
        "clusterings": [{"method": "kmeans", "n_clusters": 2}],
    }
    made = stack.finished(stack.client.post("/v1/collections", json=styles).json()["id"])
    body = {"collection": made["metrics"]["collection"], "n": 2, "seed": 1, "size": 96}
    return stack.finished(stack.client.post("/v1/cluster-samplings", json=body).json()["id"])


@pytest.fixture(scope="module")
def of_pixels(stack: Stack) -> str:
    """A collection in another space."""
    params = {"name": "Smileys", "space": "pixels", "data": "smileys", "limit": 12, "n_components": 2, "image_size": 16}
    job = stack.finished(stack.client.post("/v1/collections", json=params).json()["id"])
    return str(job["metrics"]["collection"])


def image(stack: Stack, url: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(BytesIO(stack.client.get(url).raise_for_status().content)).convert("RGB"))


def transfer(stack: Stack, **body: Any) -> dict[str, Any]:
    job: dict[str, Any] = stack.client.post("/v1/style-transfers", json={"content": CAT, **body}, headers=WAIT).json()
    assert job["status"] == "succeeded", job
    return job


def test_a_sample_of_a_cluster_becomes_a_style_of_every_method(stack: Stack, sampled: dict[str, Any]) -> None:
    answer = stack.client.post("/v1/styles", json={"name": "Invented", "job": sampled["id"], "output": 1})
    kept = answer.json()
    assert answer.status_code == 201 and len(kept["vector"]) == 100
    assert kept["recipe"]["kind"] == "cluster-sampling" and kept["recipe"]["params"]["seed"] == 1
    assert (kept["recipe"]["job"], kept["recipe"]["index"]) == (sampled["id"], 1)
    assert stack.client.get(f"/v1/styles/{kept['id']}").json() == kept
    listed = stack.client.get("/v1/styles").json()["kept"]
    assert kept["id"] in [style["id"] for style in listed] and "vector" not in listed[0]
    thumbnail = image(stack, f"/v1/styles/{kept['id']}/thumbnail")
    np.testing.assert_array_equal(thumbnail, image(stack, sampled["outputs"][1]["url"]))

    fast = transfer(stack, style=kept["id"], size=96)
    assert fast["params"]["style"] == {"vector": kept["vector"], "id": kept["id"]}, "the job has it"
    painted = image(stack, fast["outputs"][0]["url"])
    by_vector = transfer(stack, style={"vector": kept["vector"]}, size=96)
    np.testing.assert_array_equal(image(stack, by_vector["outputs"][0]["url"]), painted)
    mixed = transfer(stack, style=[{"image": kept["id"]}, {"image": COFFEE}, {"image": "builtin:3"}], size=96)
    assert set(mixed["params"]["style"][0]["image"]) == {"vector", "id"}
    other = transfer(stack, style=COFFEE, size=96)
    plain = image(stack, other["outputs"][0]["url"])
    assert np.abs(painted.astype(int) - plain).mean() > 5, "another style"

    gatys = transfer(stack, method="gatys", style=kept["id"], size=64, num_steps=12, before_after=True)
    assert len(gatys["outputs"]) == 2 and "loss" in gatys["metrics"]
    diffused = {"method": "diffusion", "model": "ddpm-digits", "num_inference_steps": 4, "content": None}
    transfer(stack, style=kept["id"], **diffused)

    assert stack.client.delete(f"/v1/styles/{kept['id']}").status_code == 204
    again = stack.client.post(f"/v1/jobs/{fast['id']}/retry", headers=WAIT).json()
    assert again["status"] == "succeeded", "a job does not need the style that it copied"


REFUSED: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "unknown": ({"style": NOBODY}, 404, "style_not_found", "style: No style is called"),
    "unknown in a blend": (
        {"style": [{"image": "builtin:1"}, {"image": NOBODY}]},
        *(404, "style_not_found", "style.1.image: No style is called"),
    ),
    "unknown of gatys": ({"method": "gatys", "style": NOBODY}, 404, "style_not_found", "style: No style is called"),
    "unknown texture": (
        {"mode": "texture", "style": [{"image": NOBODY}], "content": None},
        *(404, "style_not_found", "style.0.image: No style is called"),
    ),
    "no id": ({"style": "sty_1"}, 422, "invalid_request", "`style` must"),
    "short vector": ({"style": {"vector": [0.5]}}, 422, "invalid_request", "`style.vector` must"),
    "style mask": (
        {"method": "gatys", "style": [{"image": NOBODY, "style_mask": CAT}]},
        *(422, "invalid_request", "`style_mask` goes with a style image"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_style_that_cannot_be_used_is_refused_by_its_field(stack: Stack, name: str) -> None:
    body, status, code, message = REFUSED[name]
    sent = {key: value for key, value in ({"content": CAT} | body).items() if value is not None}
    answer = stack.client.post("/v1/style-transfers", json=sent)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code) and message in error["message"], error


def test_kept_styles_are_paged(stack: Stack) -> None:
    ids = sorted(stack.client.post("/v1/styles", json={"name": n, "vector": [0.1] * 100}).json()["id"] for n in "ab")
    page = stack.client.get("/v1/styles?limit=1").json()
    assert len(page["styles"]) == 26 and [style["id"] for style in page["kept"]] == ids[1:]
    assert (
        stack.client.get("/v1/styles", params={"limit": 1, "cursor": page["next_cursor"]}).json()["kept"][0]["name"]
        == "a"
    )
    assert stack.client.get("/v1/styles?limit=0").status_code == 422


def test_a_kept_style_is_a_point_of_the_space_of_styles(stack: Stack, sampled: dict[str, Any]) -> None:
    """Steered by nothing, it paints as in a transfer; a steering towards it and an animation take it too."""
    collection, vector = sampled["params"]["collection"], [0.2, -0.3] * 50
    kept = stack.client.post("/v1/styles", json={"name": "Kept", "vector": vector}).json()["id"]

    def run(route: str, **body: Any) -> dict[str, Any]:
        return stack.finished(stack.client.post(f"/v1/{route}", json={"collection": collection, **body}).json()["id"])

    still = {"content": CAT, "size": 96, "components": [{"component": 0, "strengths": [0]}]}
    job = run("pc-steerings", start=kept, **still)
    assert job["params"]["start"] == {"vector": vector, "id": kept}
    again = run("pc-steerings", start={"vector": vector}, **still)
    assert again["outputs"][0]["sha256"] != job["outputs"][0]["sha256"], "another recipe"
    assert again["metrics"]["pictures"] == job["metrics"]["pictures"]
    painted = image(stack, transfer(stack, style=kept, size=96)["outputs"][0]["url"])
    np.testing.assert_allclose(image(stack, job["outputs"][0]["url"]).astype(int), painted, atol=1)

    towards = run("pc-steerings", style_from=kept, size=96, style_strengths=[0, 1])
    assert towards["params"]["style_from"]["id"] == kept
    film = run("pc-animations", path={"through": [kept, "mean"]}, n_frames=2, size=96, loop=False)
    assert film["params"]["path"]["through"] == [{"vector": vector, "id": kept}, "mean"]


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("pc-steerings", {"components": [{"component": 0}], "start": "S"}, "start"),
        ("pc-steerings", {"style_from": "S"}, "style_from"),
        ("pc-animations", {"path": {"through": ["mean", "S"]}}, "path.through.1"),
        ("pc-animations", {"path": {"component": 0, "start": {"vector": [0.1] * 100}}}, "path.start"),
    ],
)
def test_a_style_is_no_point_of_another_space(
    stack: Stack, of_pixels: str, route: str, body: dict[str, Any], field: str
) -> None:
    kept = stack.client.post("/v1/styles", json={"name": "Kept", "vector": [0.1] * 100}).json()["id"]
    for style, code in ((kept, "no_styles"), (NOBODY, "style_not_found")):
        sent = json.loads(json.dumps(body | {"collection": of_pixels}).replace('"S"', f'"{style}"'))
        error = stack.client.post(f"/v1/{route}", json=sent).json()["error"]
        expected = code if "S" in json.dumps(body) else "no_styles"
        assert (error["code"], error["details"]["field"]) == (expected, field), error


def test_an_output_without_a_style_is_not_kept(stack: Stack, sampled: dict[str, Any]) -> None:
    def refused(body: dict[str, Any]) -> tuple[int, str]:
        answer = stack.client.post("/v1/styles", json={"name": "None"} | body)
        return answer.status_code, answer.json()["error"]["code"]

    grid = len(sampled["outputs"]) - 1
    assert refused({"job": sampled["id"], "output": grid}) == (422, "no_style_vector")
    assert refused({"job": sampled["id"], "output": grid + 1}) == (404, "output_not_found")
    assert refused({"job": "job_" + "0" * 24, "output": 0}) == (404, "job_not_found")
    assert refused({"job": sampled["id"]}) == (422, "invalid_request")
    assert refused({}) == (422, "invalid_request")
    assert stack.client.get(f"/v1/styles/{NOBODY}").status_code == 404
