"""Interpretation of heartbeats."""

from typing import Any

import pytest

from jobs.liveness import is_frozen, is_stalled, serves
from jobs.store.heartbeats import Vitals
from jobs.store.records import QUEUES

FACTS: dict[str, Any] = {"queues": ["fast"], "children": 1, "frozen": [], "free_s": 60.0}


def test_a_worker_serves_its_queues_while_a_child_moves() -> None:
    assert serves(FACTS, "fast") and not serves(FACTS, "gpu")
    assert is_frozen(FACTS | {"frozen": [7]}) and is_frozen(FACTS | {"children": 0})
    assert not is_frozen(FACTS | {"children": 2, "frozen": [7]})
    assert not is_frozen({"queues": ["fast"]}), "of a release that did not report it"


@pytest.mark.parametrize(
    ("waiting_s", "unclaimed_s", "free_s", "expected"),
    [
        (60, 60, 60, True),
        (1, 60, 60, False),  # it came a moment ago
        (60, 1, 60, False),  # another worker takes jobs
        (60, 60, 1, False),  # all are busy
    ],
)
def test_stalled_is_waiting_unclaimed_and_free(
    waiting_s: float, unclaimed_s: float, free_s: float, expected: bool
) -> None:
    vitals = Vitals(dict.fromkeys(QUEUES, waiting_s), dict.fromkeys(QUEUES, unclaimed_s), 0, 0)
    assert is_stalled("fast", FACTS | {"free_s": free_s}, vitals) is expected
    assert not is_stalled("gpu", FACTS, vitals), "not its queue"
