"""Style transfers in one pass, alone and as a batch, by the real networks."""

from typing import Any, cast

import numpy as np

from jobs.errors import NotFound
from jobs.requests.kinds import parse
from models.catalogue import card
from models.data.smileys import smiley
from worker import runners
from worker.lease import CanceledError
from worker.run import JobResult, Task

IMAGES = {f"img_{digit * 64}": smiley(5, i)[0] for i, digit in enumerate("012")}
A, B, C = IMAGES


def read_image(image_id: str) -> Any:
    if image_id not in IMAGES:
        raise NotFound("image_not_found", "It is gone.")
    return IMAGES[image_id]


def task(step: Any = lambda *_: None, **params: Any) -> Task:
    asked = parse("style-transfer", {"method": "fast", "size": 64, "seed": 1, **params})
    return Task(asked, step, read_image, card, cast(Any, None))


def alone(**params: Any) -> JobResult:
    (made,) = runners.run([task(**params)])
    assert isinstance(made, JobResult), made
    return made


ASKED: list[dict[str, Any]] = [
    {"content": A, "style": "builtin:19"},
    {"content": B, "style": C, "before_after": True},
    {"content": C, "style": [{"image": "builtin:3"}, {"image": A, "weight": 2}], "preserve_color": "luminance"},
]


def test_a_batch_gives_what_each_job_gives_alone() -> None:
    for asked, made in zip(ASKED, runners.run([task(**asked) for asked in ASKED]), strict=True):
        expected = alone(**asked)
        assert isinstance(made, JobResult) and made.models == expected.models
        for image, other in zip(made.images, expected.images, strict=True):
            np.testing.assert_array_equal(image.pixels, other.pixels)


def test_an_error_ends_its_job_alone() -> None:
    def cancel(*_: Any) -> None:
        raise CanceledError

    tasks = [task(**ASKED[0]), task(content="img_" + "f" * 64, style="builtin:1"), task(cancel, **ASKED[0])]
    good, gone, canceled = runners.run(tasks)
    assert isinstance(good, JobResult) and isinstance(gone, NotFound) and isinstance(canceled, CanceledError)
