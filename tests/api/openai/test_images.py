"""OpenAI's Images API by OpenAI's own client, on real models."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from api.openai.images import EXAMPLES
from tests.stack import Stack, wait_until

MODEL = "stable-diffusion-avatars"
# Seeds are random. The prompt names the colors that edits change, lest a face have them already.
PROMPT = "a smiling woman with glasses and a red hat on a blue background"


@pytest.fixture(scope="module")
def client(stack: Stack) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{stack.url}/openai/v1", api_key="none", max_retries=0)


def opened(image: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(image.b64_json)))


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def face(client: openai.OpenAI) -> bytes:
    """A face of the model's own size."""
    made = client.images.generate(prompt=PROMPT, size="128x128", response_format="b64_json")
    assert made.data
    return base64.b64decode(made.data[0].b64_json or "")


class TestGenerations:
    def test_url_and_base64_of_two_images(self, stack: Stack, client: openai.OpenAI) -> None:
        made = client.images.generate(model=MODEL, prompt=PROMPT, n=2, output_format="webp", user="me", quality="high")
        assert made.data and len(made.data) == 2
        assert (made.size, made.output_format, made.background) == ("256x256", "webp", "opaque")
        for image in made.data:
            assert image.url and httpx.get(image.url).content == base64.b64decode(image.b64_json or "")
            assert (opened(image).size, opened(image).format) == ((256, 256), "WEBP")
        job = stack.client.get("/v1/jobs", params={"kind": "generation", "limit": 1}).json()["jobs"][0]
        assert (job["params"]["mode"], job["params"]["num_images_per_prompt"]) == ("text-to-image", 2)
        assert datetime.fromtimestamp(made.created, UTC) == datetime.fromisoformat(job["finished_at"]).replace(
            microsecond=0
        )

    def test_stream(self, client: openai.OpenAI) -> None:
        with client.images.generate(prompt=PROMPT, stream=True, partial_images=2, size="512x512") as stream:
            *partial, last = list(stream)
        assert [(event.type, getattr(event, "partial_image_index", None)) for event in partial] == [
            ("image_generation.partial_image", index) for index in range(len(partial))
        ]
        assert 1 <= len(partial) <= 2
        assert (last.type, last.size, opened(last).size) == ("image_generation.completed", "512x512", (512, 512))
        assert last.type == "image_generation.completed" and last.usage.total_tokens == 0
        assert opened(partial[0]).format == "JPEG"

    def test_an_idempotency_key_makes_one_job_and_a_form_of_response_is_the_only_one(
        self, client: openai.OpenAI
    ) -> None:
        asked: dict[str, Any] = {"prompt": PROMPT, "response_format": "url", "size": "128x128"}
        headers = {"Idempotency-Key": "the-same"}
        first, second = (client.images.generate(**asked, extra_headers=headers) for _ in range(2))
        [image] = first.data or []
        assert first == second and image.url and image.b64_json is None

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_examples_run(self, stack: Stack, name: str) -> None:
        answer = stack.client.post("/openai/v1/images/generations", json=EXAMPLES[name]["value"], timeout=60)
        assert answer.status_code == 200
        assert ("image_generation.completed" in answer.text) == (name == "stream")


def pixels(data: bytes | Image.Image) -> np.ndarray[Any, Any]:
    image = data if isinstance(data, Image.Image) else Image.open(io.BytesIO(data))
    return np.asarray(image.convert("RGB"))


def with_alpha(data: bytes, transparent: tuple[slice, slice]) -> bytes:
    """The image, transparent in a rectangle."""
    alpha = np.full(pixels(data).shape[:2], 255)
    alpha[transparent] = 0
    return png(np.dstack([pixels(data), alpha]))


UPPER, FRAME = (slice(0, 64), slice(None)), (slice(32, 96), slice(32, 96))


class TestEdits:
    def test_transparent_pixels_of_the_mask_are_generated(self, client: openai.OpenAI, face: bytes) -> None:
        mask = with_alpha(face, UPPER)
        edit = client.images.edit(image=face, mask=mask, prompt="a woman with a yellow hat", response_format="b64_json")
        [made] = edit.data or []
        difference = np.abs(pixels(opened(made)).astype(int) - pixels(face))
        assert edit.size == "128x128" and not difference[64:].any() and difference[:64].mean() > 5

    def test_transparent_border_is_no_brush(self, client: openai.OpenAI, face: bytes) -> None:
        alpha = np.zeros((128, 128))
        alpha[FRAME] = 255
        mask = png(np.dstack([pixels(face), alpha]))
        [made] = client.images.edit(image=[face], mask=mask, prompt="a woman on a pink background").data or []
        difference = np.abs(pixels(opened(made)).astype(int) - pixels(face))
        assert not difference[FRAME].any() and difference[:16].mean() > 5

    def test_the_image_is_its_own_mask(self, client: openai.OpenAI, face: bytes) -> None:
        [made] = client.images.edit(image=with_alpha(face, UPPER), prompt="a woman with a yellow hat").data or []
        assert not (pixels(opened(made))[64:].astype(int) - pixels(face)[64:]).any()

    def test_an_opaque_image_is_changed_everywhere(self, stack: Stack, client: openai.OpenAI, face: bytes) -> None:
        edit = client.images.edit(image=face, prompt="a man with glasses", size="256x256", n=2, stream=True)
        assert [event.type for event in edit] == ["image_edit.completed"] * 2
        job = stack.client.get("/v1/jobs", params={"limit": 1}).json()["jobs"][0]
        assert (job["params"]["mode"], job["params"]["strength"]) == ("image-to-image", 0.6)

    def test_one_image_at_a_time(self, client: openai.OpenAI, face: bytes) -> None:
        with pytest.raises(openai.BadRequestError, match="One image is edited at a time; 2 were sent") as refusal:
            client.images.edit(image=[face, face], prompt="two")
        assert refusal.value.param == "image"

    def test_opaque_mask(self, client: openai.OpenAI, face: bytes) -> None:
        with pytest.raises(openai.BadRequestError, match="No pixel of it is transparent") as refusal:
            client.images.edit(image=face, mask=face, prompt="a hat")
        assert (refusal.value.param, refusal.value.code) == ("mask", "empty_mask")

    def test_mask_of_another_size(self, client: openai.OpenAI, face: bytes) -> None:
        mask = with_alpha(png(np.zeros((64, 64, 3))), FRAME)
        with pytest.raises(openai.BadRequestError, match="it must have its image's size, 128 x 128") as refusal:
            client.images.edit(image=face, mask=mask, prompt="a hat")
        assert refusal.value.param == "mask"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI itself has retired variations
class TestVariations:
    def test_different_variations(self, stack: Stack, client: openai.OpenAI, face: bytes) -> None:
        made = client.images.create_variation(image=face, n=2, size="256x256", response_format="b64_json")
        first, second = (pixels(opened(image).resize((128, 128))).astype(int) for image in made.data or [])
        assert np.abs(first - second).mean() > 1
        job = stack.client.get("/v1/jobs", params={"limit": 1}).json()["jobs"][0]
        assert (job["params"]["mode"], job["params"]["model"]) == ("vary", "kandinsky-avatars")

    def test_size_is_a_multiple_of_the_models_own(self, client: openai.OpenAI, face: bytes) -> None:
        made = client.images.create_variation(image=face, model="kandinsky-avatars", size="128x128")  # type: ignore[arg-type]
        assert [opened(image).size for image in made.data or []] == [(128, 128)]
        with pytest.raises(openai.BadRequestError, match="`size` must be `auto`, 64x64, 128x128, 192x192 or 256x256"):
            client.images.create_variation(image=face, size="1024x1024")

    def test_model_that_cannot_vary(self, client: openai.OpenAI, face: bytes) -> None:
        with pytest.raises(openai.BadRequestError, match="cannot vary images; kandinsky-avatars") as refusal:
            client.images.create_variation(image=face, model=MODEL)
        assert (refusal.value.param, refusal.value.code) == ("model", "mode_not_supported")
        with pytest.raises(openai.NotFoundError, match="There is no model 'dall-e-2' that can vary images"):
            client.images.create_variation(image=face, model="dall-e-2")

    def test_no_image(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as refusal:
            client.images.create_variation(image=b"no image")
        assert (refusal.value.param, refusal.value.code) == ("image", "image_format_unsupported")


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "size": (
        {"size": "1000x1000"},
        "size",
        "`size` must be `auto`, which is 256x256, or WIDTHxHEIGHT with sides of 128",
    ),
    "size in words": ({"size": "large"}, "size", "`size` must be `auto` or WIDTHxHEIGHT, such as 1024x1024."),
    "n": ({"n": 11}, "n", "`n` must be at most 10."),
    "prompt": ({"prompt": ""}, "prompt", "`prompt` must have at least 1 character."),
    "format": ({"output_format": "gif"}, "output_format", "`output_format` must be 'png', 'jpeg' or 'webp'."),
    "background": ({"background": "transparent"}, "background", "`background` must be 'auto' or 'opaque'."),
    "compression": ({"output_compression": 50}, "output_compression", "`output_compression` must be at least 100."),
    "unknown field": (
        {"extra_body": {"frame_count": 3}},
        "frame_count",
        "`frame_count` is not a field of this request",
    ),
}


class TestErrors:
    @pytest.mark.parametrize("name", REFUSED)
    def test_field(self, client: openai.OpenAI, name: str) -> None:
        asked, field, message = REFUSED[name]
        with pytest.raises(openai.BadRequestError) as refusal:
            client.images.generate(**{"prompt": PROMPT, **asked})
        assert (refusal.value.param, refusal.value.type) == (field, "invalid_request_error")
        assert message in refusal.value.message

    def test_unknown_model(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError, match="There is no model 'dall-e-3'") as refusal:
            client.images.generate(prompt=PROMPT, model="dall-e-3")
        assert (refusal.value.param, refusal.value.code) == ("model", "model_not_found")
        assert MODEL in refusal.value.message

    def test_model_of_the_other_kind(self, client: openai.OpenAI) -> None:
        match = f"kandinsky-avatars cannot make images of texts; .*{MODEL}"
        with pytest.raises(openai.BadRequestError, match=match) as refusal:
            client.images.generate(prompt=PROMPT, model="kandinsky-avatars")
        assert (refusal.value.param, refusal.value.code) == ("model", "mode_not_supported")

    def test_path_body_and_job(self, stack: Stack, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError, match="There is no such path"):
            client.chat.completions.create(model=MODEL, messages=[])
        answer = stack.client.post(
            "/openai/v1/images/generations", content=b"{", headers={"content-type": "application/json"}
        )
        assert answer.json()["error"] | {"message": ""} == {
            **{"message": "", "type": "invalid_request_error", "param": None, "code": "invalid_json"}
        }
        assert "request_id" in stack.client.get("/v1/nowhere").json()["error"]

    def test_canceled_job(self, stack: Stack, client: openai.OpenAI) -> None:
        """Ends a request and, by an event, a stream."""

        def cancel() -> None:
            job = wait_until(lambda: stack.client.get("/v1/jobs?status=running").json()["jobs"], 30, "a job")[0]
            stack.client.post(f"/v1/jobs/{job['id']}/cancel")

        slow: dict[str, Any] = {"prompt": PROMPT, "size": "1024x1024", "n": 10}
        with ThreadPoolExecutor() as pool:
            canceling = pool.submit(cancel)
            with pytest.raises(openai.InternalServerError, match="is canceled") as ended:
                client.with_options(max_retries=2).images.generate(**slow)
            canceling.result()
            assert ended.value.response.headers["x-should-retry"] == "false"
            canceling = pool.submit(cancel)
            with pytest.raises(openai.APIError, match="is canceled"):
                list(client.images.generate(**slow, stream=True))
            canceling.result()
