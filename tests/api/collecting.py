"""Steps that the tests of collections share; jobs are ended by hand, without a worker."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from api.generations import SMILEY, WINK
from api.style_transfers import CAT, COFFEE
from jobs.store.records import Ending
from tests.api.cards import card
from tests.stack import Stack

DIGITS: dict[str, Any] = {"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1, "data": "digits"}

IMAGES = [SMILEY, WINK, CAT, COFFEE]

FILE, OTHER_FILE = "a" * 64, "b" * 64

NO_COLLECTION = "col_" + "0" * 24

FIGURES: dict[str, Any] = {
    **{"n_images": 200, "n_components": 5, "attribute_names": []},
    **{"clusterings": {"kmeans": {"n_clusters": 3}}, "failed_clusterings": {}},
}


@pytest.fixture(scope="module")
def stack(api_alone: Stack) -> Stack:
    """Valkey and the API, with the facts that a worker reported before it stopped."""
    api_alone.redis.flushall()
    cards = [card(name) for name in ("vae-2", "vae-faces", "gan-8", "dcgan-faces", "ddpm-small", "vgg16")]
    api_alone.jobs.heartbeats.beat("away@test", {"queues": ["fast", "gpu", "collect"], "cards": cards, "installed": []})
    return api_alone


def post(stack: Stack, path: str = "", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return stack.client.post(f"/v1/collections{path}", json=body, headers=headers)


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def error(answer: httpx.Response) -> tuple[int, str, str]:
    found = answer.json()["error"]
    return answer.status_code, found["code"], found["message"]


def end(stack: Stack, status: str = "succeeded", file: str = FILE, plots: Sequence[dict[str, Any]] = ()) -> str:
    """End the job that waits; returns its id."""
    [record] = stack.jobs.claim("collect", worker="test")
    collection = {"file": file, "figures": FIGURES, "plots": list(plots)}
    given: dict[str, Any] = (
        {"collection": collection} if status == "succeeded" else {"error": {"code": "bad_data", "message": "x"}}
    )
    stack.jobs.finish(record.id, record.fence, Ending(status, {"figures": FIGURES}, **given))
    return record.id


def ready(stack: Stack, **changed: Any) -> str:
    """A collection with one version; returns its id."""
    accepted(post(stack, **DIGITS | changed))
    return end(stack).replace("job_", "col_")
