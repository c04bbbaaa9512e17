"""POST /v1/trainings and /v1/archives at the door, and the models that cannot be deleted."""

import hashlib
import io
import zipfile
from typing import Any

import httpx
import pytest

from models.generative.gan import Generator
from models.training.recipe import frozen_model
from tests.api.conftest import image_file, stored
from tests.stack import Stack, wait_until

VAE: dict[str, Any] = {"recipe": "vae", "data": "digits"}
NO_ARCHIVE = "zip_" + "0" * 64


def zipped(n: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(n):
            archive.writestr(f"cats/{index}.png", image_file(seed=index))
    return file.getvalue()


def upload(stack: Stack, data: bytes) -> httpx.Response:
    return stack.client.post("/v1/archives", files={"file": ("images.zip", data, "application/zip")})


def error(answer: httpx.Response) -> tuple[int, str, str]:
    found = answer.json()["error"]
    return answer.status_code, found["code"], found["message"]


def test_an_archive_is_stored_under_its_sha256_and_trained_on(stack: Stack) -> None:
    data = zipped(20)
    answer = upload(stack, data)
    archive = answer.json()
    assert answer.status_code == 201, answer.text
    assert (archive["size_bytes"], archive["n_files"]) == (len(data), 20)
    assert upload(stack, data).json()["id"] == archive["id"]
    assert (stack.folder / "objects" / archive["id"].removeprefix("zip_")).read_bytes() == data
    body = {"recipe": "gan", "data": archive["id"], "num_steps": 2, "batch_size": 4, "title": "Cats"}
    job = stack.finished(stack.client.post("/v1/trainings", json=body).json()["id"])
    assert (job["status"], job["params"]["image_size"]) == ("succeeded", 28), job["error"]
    assert stack.client.get(f"/v1/models/{job['metrics']['model']}").json()["title"] == "Cats"
    assert stack.client.get(f"/v1/images/img_{archive['id'][4:]}").status_code == 404, "it is no image"


@pytest.mark.parametrize("data", [b"", b"no zip file", image_file(), zipped(2)[:-8], zipped(0)])
def test_what_is_no_zip_file_is_refused_and_leaves_nothing(stack: Stack, data: bytes) -> None:
    before = stored(stack)
    status, code, message = error(upload(stack, data))
    assert (status, code) == (422, "archive_unreadable")
    assert message.startswith("file: ")
    assert stored(stack) == before


def test_an_archive_may_be_larger_than_another_body_but_not_beyond_its_own_bound(stack: Stack) -> None:
    """The bounds are 2 and 3 MB here."""
    large = zipped(500)
    assert 2_000_000 < len(large) < 3_000_000
    assert upload(stack, large).status_code == 201
    assert error(upload(stack, large + large))[:2] == (413, "body_too_large")
    assert error(stack.client.post("/v1/images", files={"file": large}))[:2] == (413, "body_too_large")


@pytest.mark.parametrize(
    ("changed", "status", "code", "message"),
    [
        ({"data": NO_ARCHIVE}, 404, "archive_not_found", "data: No archive"),
        ({"data": "cats"}, 422, "invalid_request", "`data` must be digits, mnist, fashion-mnist, avatars"),
        ({"recipe": "gan", "data": "flowers"}, 422, "invalid_request", "data: flowers has colors"),
        ({"recipe": "dcgan"}, 422, "invalid_request", "data: Recipe dcgan takes 64 x 64"),
        ({"recipe": "cyclegan", "data": "avatars"}, 422, "invalid_request", "`attribute` is required"),
        (
            {"recipe": "cyclegan", "data": "smileys", "attribute": "glasses"},
            *(422, "invalid_request", "attribute: smileys has these attributes: smiling, neutral"),
        ),
        ({"recipe": "stylegan"}, 422, "invalid_request", "`recipe` must be 'vae', 'gan'"),
        ({"limit": 20}, 422, "invalid_request", "`limit` must be at least batch_size, which is 128"),
        ({"num_steps": 0}, 422, "invalid_request", "`num_steps` must be at least 1"),
        ({"base_channels": 8}, 422, "invalid_request", "`base_channels` is not a field of this request"),
        ({"title": ""}, 422, "invalid_request", "`title` must have at least 1 character"),
    ],
)
def test_bad_requests_name_the_field_and_what_is_allowed(
    stack: Stack, changed: dict[str, Any], status: int, code: str, message: str
) -> None:
    before = stored(stack)
    found = error(stack.client.post("/v1/trainings", json=VAE | changed))
    assert found[:2] == (status, code)
    assert found[2].startswith(message), found[2]
    assert stored(stack) == before


def test_recipe_is_required(stack: Stack) -> None:
    assert error(stack.client.post("/v1/trainings", json={"data": "digits"}))[2].startswith("`recipe` must be")


def test_a_job_without_a_checkpoint_says_so(stack: Stack) -> None:
    job = stack.finished(stack.submit()["id"])
    assert job["checkpoint"] is None
    assert error(stack.client.get(f"/v1/jobs/{job['id']}/checkpoint"))[:2] == (404, "checkpoint_not_found")


def test_an_archive_can_be_deleted(stack: Stack) -> None:
    data = zipped(7)
    archive = upload(stack, data).json()
    assert stack.client.delete(f"/v1/archives/{archive['id']}").status_code == 204
    for answer in (
        stack.client.delete(f"/v1/archives/{archive['id']}"),
        stack.client.post("/v1/trainings", json=VAE | {"data": archive["id"]}),
    ):
        assert error(answer)[:2] == (404, "archive_not_found")
    assert error(stack.client.delete("/v1/archives/zip_0"))[:2] == (422, "invalid_request")
    assert upload(stack, data).json()["id"] == archive["id"]


def test_shipped_models_cannot_be_deleted(stack: Stack) -> None:
    assert error(stack.client.delete("/v1/models/vgg16"))[:2] == (409, "model_not_deletable")
    assert error(stack.client.delete("/v1/models/nothing"))[:2] == (404, "model_not_found")


def test_a_training_is_finished_now_and_its_model_used_and_taken_out(stack: Stack) -> None:
    """The files in one folder are a model that loads; a 200,000 steps' training ends in seconds."""
    body = {"recipe": "gan", "data": "digits", "limit": 64, "batch_size": 8, "num_steps": 200_000, "seed": 1}
    job_id = stack.client.post("/v1/trainings", json=body).json()["id"]
    wait_until(lambda: (stack.job(job_id)["progress"] or {}).get("step", 0) > 3, 60, "some steps")
    assert stack.client.post(f"/v1/jobs/{job_id}/finish").json()["status"] in ("running", "succeeded")
    job = stack.finished(job_id)
    assert job["status"] == "succeeded" and 3 < job["metrics"]["steps"] < 200_000, job["error"]
    assert stack.client.post(f"/v1/jobs/{job_id}/finish").json()["status"] == "succeeded"

    model = job["metrics"]["model"]
    listed = stack.client.get(f"/v1/models/{model}/files").json()
    assert [file["name"] for file in listed["files"]] == ["card.json", "model.safetensors"]
    folder = stack.folder / "taken"
    folder.mkdir()
    for file in listed["files"]:
        data = stack.client.get(file["url"]).content
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["size_bytes"], file["sha256"])
        (folder / file["name"]).write_bytes(data)
    module, card = frozen_model(str(folder))
    assert isinstance(module, Generator) and card.id == model
    assert error(stack.client.get(f"/v1/models/{model}/files/optimizer"))[:2] == (404, "file_not_found")


def test_files_of_a_shipped_model_are_listed_and_only_its_card_is_given(stack: Stack) -> None:
    listed = stack.client.get("/v1/models/vae-smileys/files").json()
    card, weights = listed["files"]
    assert weights["name"] == "model.safetensors" and len(weights["sha256"]) == 64 and weights["url"] is None
    assert stack.client.get(card["url"]).json()["architecture"]["name"] == "conv-vae"
    status, code, message = error(stack.client.get("/v1/models/vae-smileys/files/model.safetensors"))
    assert (status, code) == (409, "file_not_stored") and "models/weights/vae-smileys" in message
    status, code, message = error(stack.client.get("/v1/models/vgg16/files/vgg16.safetensors"))
    assert code == "file_not_stored" or "it has card.json" in message
    assert error(stack.client.get("/v1/models/nothing/files"))[:2] == (404, "model_not_found")


def test_what_is_no_running_training_cannot_be_finished(stack: Stack) -> None:
    photo = stack.client.post("/v1/images", files={"file": image_file()}).json()["id"]
    body = {"method": "fast", "content": photo, "style": "builtin:1", "size": 64}
    job_id = stack.client.post("/v1/style-transfers", json=body).json()["id"]
    assert error(stack.client.post(f"/v1/jobs/{job_id}/finish"))[:2] == (409, "job_not_finishable")
    assert error(stack.client.post(f"/v1/jobs/job_{'0' * 24}/finish"))[:2] == (404, "job_not_found")


def test_a_training_begins_with_a_model_of_its_architecture(stack: Stack) -> None:
    body = {"recipe": "vae", "data": "smileys", "limit": 32, "batch_size": 8, "num_steps": 2, "start": "vae-smileys"}
    job = stack.client.post("/v1/trainings", json=body).json()
    latent_dim = job["params"]["latent_dim"]
    assert latent_dim == stack.client.get("/v1/models/vae-smileys/files/card.json").json()["architecture"]["latent_dim"]
    job = stack.finished(job["id"])
    assert job["status"] == "succeeded", job["error"]
    again = stack.client.post(
        "/v1/trainings", json=body | {"start": job["metrics"]["model"], "num_steps": 10_000}
    ).json()
    assert error(stack.client.delete(f"/v1/models/{job['metrics']['model']}"))[:2] == (409, "model_in_use")
    stack.client.post(f"/v1/jobs/{again['id']}/cancel")
    stack.finished(again["id"])
    wrong = stack.client.post("/v1/trainings", json=body | {"latent_dim": latent_dim + 1})
    assert error(wrong)[:2] == (422, "model_mismatch") and wrong.json()["error"]["details"]["field"] == "latent_dim"
    unknown = stack.client.post("/v1/trainings", json=body | {"start": "vae-nothing"})
    assert error(unknown)[1] == "unknown_model" and "vae-digits-2" in unknown.json()["error"]["message"]
