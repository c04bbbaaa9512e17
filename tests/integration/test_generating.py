"""Generations on the whole stack: the real worker, the shipped weights, the API's own examples."""

import io

import numpy as np
import pytest
from PIL import Image

from api.generations import EXAMPLES
from jobs.images import read_recipe
from tests.stack import Stack, wait_until


def pixels(stack: Stack, url: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(stack.client.get(url).content)))


# The other sums take the way of `arithmetic`; tests/api/test_openapi_examples.py runs them as they stand.
OTHERS = ("arithmetic of a smile", "arithmetic of a hat", "direction of an attribute")


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in OTHERS])
def test_example_makes_images_and_a_retry_the_same(shared_stack: Stack, name: str) -> None:
    body = EXAMPLES[name]["value"]
    submitted = shared_stack.client.post("/v1/generations", json=body)
    assert submitted.status_code == 202, submitted.text
    job = shared_stack.finished(submitted.json()["id"])
    assert (job["status"], job["error"]) == ("succeeded", None)
    print(
        f"{name}: {len(job['outputs'])} outputs in {job['metrics']['run_ms']} ms, loaded in {job['metrics']['load_ms']}"
    )
    shown = [pixels(shared_stack, output["url"]) for output in job["outputs"]]
    assert all(image.std() > 5 for image in shown), "no image is of one plain color"
    recipe = read_recipe(shared_stack.client.get(job["outputs"][0]["url"]).content)
    model = body.get("model", "stable-diffusion-avatars")  # the default of prompts
    assert recipe is not None and recipe["params"]["model"] == model and model in recipe["models"]
    again = shared_stack.client.post(f"/v1/jobs/{job['id']}/retry").json()
    assert [output["sha256"] for output in shared_stack.finished(again["id"])["outputs"]] == [
        output["sha256"] for output in job["outputs"]
    ]


def test_an_image_of_a_batch_by_its_own_seed(shared_stack: Stack) -> None:
    batch = shared_stack.client.post("/v1/generations", json={"model": "dcgan-avatars", "n": 3, "seed": 11}).json()
    outputs = shared_stack.finished(batch["id"])["outputs"]
    assert [(output["role"], output["seed"]) for output in outputs[:3]] == [("picture", seed) for seed in (11, 12, 13)]
    alone = shared_stack.client.post("/v1/generations", json={"model": "dcgan-avatars", "seeds": [12]}).json()
    [output] = shared_stack.finished(alone["id"])["outputs"]
    difference = pixels(shared_stack, output["url"]).astype(int) - pixels(shared_stack, outputs[1]["url"])
    assert np.abs(difference).max() <= 3


def test_diffusion_shows_previews_and_is_cancelled(shared_stack: Stack) -> None:
    body = {"model": "ddpm-digits", "n": 64, "num_inference_steps": 1000}
    job = shared_stack.client.post("/v1/generations", json=body).json()["id"]
    wait_until(lambda: (shared_stack.job(job)["progress"] or {}).get("preview_url"), 30, "a preview")
    progress = shared_stack.job(job)["progress"]
    assert (progress["total"], progress["message"]) == (1000, "denoising")
    headers = shared_stack.client.get(progress["preview_url"]).headers
    assert (headers["content-type"], headers["cache-control"]) == ("image/jpeg", "private, no-cache")
    shared_stack.client.post(f"/v1/jobs/{job}/cancel")
    assert shared_stack.finished(job, 20)["status"] == "canceled"


def test_attributes_nothing_has_fail_the_job(shared_stack: Stack) -> None:
    term = {"sign": "+", "with": ["smiling", "frowning", "surprised"]}
    body = {"model": "dcgan-avatars", "mode": "arithmetic", "terms": [term], "n": 1}
    job = shared_stack.finished(shared_stack.client.post("/v1/generations", json=body).json()["id"], 300)
    assert (job["status"], job["error"]["code"]) == ("failed", "attributes_not_found")
    assert job["error"]["details"]["field"] == "terms.0"
