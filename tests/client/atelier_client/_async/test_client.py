"""The client against a real installation: a worker paints, and connections break where a test asks."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from atelier_client import AsyncAtelier, Atelier, errors
from tests.stack import Stack

CAT = Path("examples/photos/chelsea.jpg")
FILM = Path("docs/images/space-animation.webp")


class Breaking(httpx.BaseTransport):
    """Sends requests, and breaks the first responses that `breaks` selects: all of them, or their stream of events."""

    def __init__(self, breaks: str, times: int) -> None:
        self.inner, self.breaks, self.times = httpx.HTTPTransport(), breaks, times
        self.sent: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        response = self.inner.handle_request(request)
        if self.breaks in request.url.path and self.times:
            self.times -= 1
            if self.breaks != "/events":
                response.close()
                raise httpx.ReadError("the connection was cut")
            return httpx.Response(response.status_code, headers=response.headers, stream=Cut(response))
        return response


class Cut(httpx.SyncByteStream):
    """The first parts of a stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response

    def __iter__(self) -> Iterator[bytes]:
        for i, part in enumerate(self.response.iter_raw()):
            if i == 3:
                raise httpx.ReadError("the connection was cut")
            yield part

    def close(self) -> None:
        self.response.close()


@pytest.fixture
def url(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.api_port}"


def test_from_a_file_to_a_saved_image(atelier: Atelier, tmp_path: Path) -> None:
    job = atelier.style_transfer(content=CAT, style="builtin:19", size=96)
    path = job.wait().outputs[0].save(tmp_path)
    assert Image.open(path).size == job.outputs[0].size == (96, 64)
    assert job.params["style"] == "builtin:19"
    assert "<img" in job._repr_html_() and "96x64" in repr(job.outputs[0])


def test_async_client(url: str) -> None:
    async def run() -> tuple[str, Image.Image, int]:
        async with AsyncAtelier(url) as atelier:
            jobs = [await atelier.style_transfer(content=CAT, style=f"builtin:{i}", size=64) for i in (1, 2)]
            await asyncio.gather(*(job.wait() for job in jobs))
            count = len([job async for job in atelier.jobs(kind="style-transfer", status="succeeded")])
            return jobs[0].status, await jobs[1].outputs[0].image(), count

    status, image, count = asyncio.run(run())
    assert status == "succeeded" and max(image.size) == 64 and count >= 2


def test_uploads_happen_once(url: str) -> None:
    transport = Breaking("none", 0)
    with Atelier(url, transport=transport) as atelier:
        ids = {atelier.upload(form) for form in (CAT, str(CAT), CAT.read_bytes(), io.BytesIO(CAT.read_bytes()))}
        assert len(ids) == len(transport.sent) == 1
        films = {atelier.upload_file(form) for form in (FILM, str(FILM))}
    assert len(films) == 1 and films.pop().startswith("zip_") and len(transport.sent) == 2


def test_expired_upload_is_sent_again(url: str) -> None:
    with Atelier(url) as atelier:
        image = Image.new("RGB", (40, 30), "teal")
        atelier.request("DELETE", f"/v1/images/{atelier.upload(image)}")
        assert atelier.style_transfer(content=image, style="builtin:2", size=64).wait().status == "succeeded"


def test_submit_whose_response_is_lost_makes_one_job(url: str, stack: Stack) -> None:
    transport = Breaking("/v1/probes", 2)
    with Atelier(url, transport=transport) as atelier:
        job = atelier.start("/v1/probes", {"seed": 11}).wait()
        same = [each.id for each in atelier.jobs() if each.kind == "probe" and each.params["seed"] == 11]
    assert len(transport.sent) >= 3 and same == [job.id]


def test_events_are_resumed_without_gap_or_repetition(url: str) -> None:
    transport = Breaking("/events", 3)
    with Atelier(url, transport=transport) as atelier:
        job = atelier.start("/v1/probes", {"steps": 12, "step_s": 0.1})
        events = list(job.events())
    ids = [event.id for event in events if event.type != "snapshot"]
    assert transport.times == 0 and len(ids) == len(set(ids)) and events[-1].data["status"] == "succeeded"
    steps = [event.data["step"] for event in events if event.type == "progress"]
    assert steps == sorted(set(steps)) and steps[-1] == 12
    assert job.status == "succeeded"


def test_broken_stream_without_end(url: str) -> None:
    with Atelier(url, retries=1) as good, Atelier(url, transport=Breaking("/events", 10**6), retries=1) as atelier:
        job = good.start("/v1/probes", {"steps": 100, "step_s": 0.1})
        transport = httpx.MockTransport(lambda _: (_ for _ in ()).throw(httpx.ConnectError("refused")))
        with (
            Atelier(url, transport=transport, retries=1) as down,
            pytest.raises(errors.ServiceUnreachableError, match=url),
        ):
            down.job(job.id)
        assert atelier.job(job.id).status in ("queued", "running")
        good.job(job.id).cancel()


def test_wait_reports_progress_and_ends_at_its_timeout(atelier: Atelier) -> None:
    steps: list[int] = []
    job = atelier.start("/v1/probes", {"steps": 40, "step_s": 0.1})
    with pytest.raises(errors.WaitTimeoutError, match="has not ended within 1"):
        job.wait(1, progress=lambda progress: steps.append(progress["step"]))
    job.cancel()
    with pytest.raises(errors.JobCanceledError):
        job.wait()
    assert job.wait(check=False).status == "canceled"


def test_failed_job_raises_by_its_code(atelier: Atelier) -> None:
    collection = atelier.collect(name="Digits", space="pixels", image_size=16, channels=1, data="digits", limit=40)
    same = collection.wait().collection
    job = same.animate(path={"through": [{"cluster": 0}, {"cluster": 0}]})
    with pytest.raises(errors.PathWithoutLengthError) as error:
        job.wait()
    assert error.value.job is job and error.value.code == "path_without_length"


def test_limit_is_waited_out() -> None:
    responses = [
        httpx.Response(429, headers={"Retry-After": "1"}),
        httpx.Response(503),
        httpx.Response(200, json={"models": []}),
    ]
    with Atelier("http://x", transport=httpx.MockTransport(lambda _: responses.pop(0))) as atelier:
        assert atelier.models() == [] and not responses


def test_post_without_a_key_is_not_repeated() -> None:
    sent = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        raise httpx.ReadError("cut")

    with (
        Atelier("http://x", transport=httpx.MockTransport(respond)) as atelier,
        pytest.raises(errors.ServiceUnreachableError),
    ):
        atelier.request("POST", "/v1/keys", json={})
    assert len(sent) == 1


def test_named_errors(atelier: Atelier) -> None:
    with pytest.raises(errors.InvalidRequestError) as error:
        atelier.style_transfer(content=CAT, style="builtin:19", size=9999)
    assert error.value.field == "size"
    with pytest.raises(errors.JobNotFoundError):
        atelier.job("job_" + "0" * 24)


def test_styles_and_models(atelier: Atelier) -> None:
    assert len(atelier.styles()["styles"]) == 26
    card = atelier.model("vae-smileys")
    assert card["id"] == "vae-smileys" and card["license"]
