"""What requests are resolved against."""

from typing import Any

import pytest

from jobs.errors import BadInput, Unavailable
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


def able(name: str, architecture: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "architecture": {"name": architecture, **more}}


CARDS = [
    able("small", "stable-diffusion", image_size=64),
    able("large", "diffusers", image_size=512),
    able("as-large", "diffusers", image_size=512),
    able("not-fetched", "diffusers", image_size=1024),
    able("faces", "kandinsky"),
    {"id": "vgg16"},
]


@pytest.mark.parametrize(
    ("setting", "mode", "model"),
    [
        (None, "text-to-image", "as-large"),
        (None, "vary", "faces"),
        ("small", "text-to-image", "small"),
        ("small", "vary", "faces"),
        ("mine", "inpaint", "mine"),
    ],
)
def test_default_model_of_a_mode(store: JobStore, setting: str | None, mode: str, model: str) -> None:
    installed = [card["id"] for card in CARDS if card["id"] != "not-fetched"]
    store.heartbeats.beat("w1", {"cards": CARDS, "installed": installed})
    settings = store.settings.model_copy(update={"default_model": setting})
    assert Facts(JobStore(store.client, settings)).default_model(mode) == model


def test_no_installed_model_can_do_the_mode(store: JobStore) -> None:
    store.heartbeats.beat("w1", {"cards": CARDS, "installed": ["faces", "vgg16"]})
    with pytest.raises(BadInput) as refusal:
        Facts(store).default_model("text-to-image")
    assert (refusal.value.code, refusal.value.details["field"]) == ("unknown_model", "model")
