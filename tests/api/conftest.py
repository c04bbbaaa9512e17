import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.style_transfers import CAT
from jobs.store.protocol import PREFIX
from jobs.store.records import QUEUES
from tests.stack import CALM, Stack

MAX_BYTES, MAX_ARCHIVE_BYTES = 2_000_000, 3_000_000
WAIT = {"Prefer": "wait=30"}
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
FAST: dict[str, Any] = {"content": CAT, "style": "builtin:1", "size": 64}
GATYS: dict[str, Any] = {"method": "gatys", "content": CAT, "style": CAT, "size": 64, "num_steps": 1}


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Starts one installation, shared by the tests that leave it working."""
    made = Stack(
        tmp_path_factory.mktemp("api"),
        ATELIER_MAX_UPLOAD_BYTES=str(MAX_BYTES),
        ATELIER_MAX_ARCHIVE_BYTES=str(MAX_ARCHIVE_BYTES),
        ATELIER_LOG_FORMAT="json",
        **CALM,
    )
    yield made.start_all()
    made.stop()


@pytest.fixture(scope="package")
def api_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Valkey and the API, without a worker."""
    made = Stack(tmp_path_factory.mktemp("api-alone"))
    made.start_valkey()
    made.start_api("api.main:app")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def done(stack: Stack) -> dict[str, Any]:
    """A probe that has succeeded."""
    return stack.submit(WAIT, steps=2, seed=7)


@pytest.fixture(scope="package")
def kept_style(stack: Stack) -> str:
    """The id of a kept style."""
    return str(stack.client.post("/v1/styles", json={"name": "Kept", "vector": [0.2, -0.3] * 50}).json()["id"])


@pytest.fixture(scope="package")
def own_vectors(stack: Stack) -> str:
    """The id of an uploaded npz file with 24 vectors of 16 values."""
    file = BytesIO()
    np.savez(file, vectors=np.random.default_rng(0).standard_normal((24, 16)))
    return str(stack.client.post("/v1/archives", files={"file": file.getvalue()}).json()["id"])


@pytest.fixture(scope="package")
def film(stack: Stack) -> str:
    """The id of an uploaded GIF of three frames."""
    return str(stack.client.post("/v1/archives", files={"file": film_file()}).json()["id"])


def film_file() -> bytes:
    """An animated GIF of three frames of 64 x 48 random pixels."""
    frames = [Image.open(BytesIO(image_file("GIF", (64, 48), seed))) for seed in range(3)]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=80, loop=0)
    return file.getvalue()


def image_file(kind: str = "PNG", size: tuple[int, int] = (48, 32), seed: int = 0, **options: Any) -> bytes:
    """Bytes of an image file of random pixels."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


def data_url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def field_and_rule(message: str) -> list[str]:
    """Splits "`size` must be at most 64." or "size: At 64 it is too small." into the field and the rest."""
    return message[1:].split("` ", 1) if message.startswith("`") else message.split(": ", 1)


def stored(stack: Stack) -> dict[str, Any]:
    """Returns all that an installation stores: objects, job and image records, queues."""
    redis = stack.redis
    keys = [key for kind in ("job", "image", "idem", "events") for key in redis.scan_iter(f"{PREFIX}{kind}:*")]
    return {
        "objects": sorted(path.name for path in (stack.folder / "objects").rglob("*")),
        "records": sorted(keys),
        "queued": {queue: redis.zcard(f"{PREFIX}queue:{queue}") for queue in QUEUES},
        "nudges": {queue: redis.llen(queue) for queue in QUEUES},
    }


def elsewhere(folder: Path) -> set[str]:
    """Returns the files of an installation's folder, except objects, Valkey's files and logs."""
    known = ("objects", "valkey")
    files = (path.relative_to(folder) for path in folder.rglob("*"))
    return {str(path) for path in files if path.parts[0] not in known and path.suffix != ".log"}
