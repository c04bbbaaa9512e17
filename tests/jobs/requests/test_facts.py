"""What requests are resolved against."""

from typing import Any

import pytest

from jobs.errors import Unavailable
from jobs.requests.facts import AWAY_S, Facts, model_cards
from jobs.store.heartbeats import SILENCE_S
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX


def report(store: JobStore, worker: str, title: str, seconds_ago: float) -> None:
    """Reports the card of one model, by a worker whose last heartbeat is older."""
    store.heartbeats.beat(worker, {"cards": [{"id": "vgg16", "title": title}], "installed": ["vgg16"]})
    newest: Any = store.client.zrange(f"{PREFIX}reports", -1, -1)
    store.client.zincrby(f"{PREFIX}reports", -seconds_ago * 1000, newest[0])


def test_cards_are_known_for_a_day_after_the_last_heartbeat(store: JobStore) -> None:
    report(store, "gone", "old", AWAY_S + 1)
    assert model_cards(store) == {}
    with pytest.raises(Unavailable) as refusal:
        Facts(store).cards()
    assert (refusal.value.code, Facts(store).installed()) == ("no_worker", set())

    report(store, "away", "before the upgrade", 10 * SILENCE_S)
    assert model_cards(store)["vgg16"]["title"] == "before the upgrade"
    assert Facts(store).installed() == {"vgg16"}

    report(store, "running", "after the upgrade", 0)
    assert model_cards(store) == Facts(store).cards() == {"vgg16": {"id": "vgg16", "title": "after the upgrade"}}
