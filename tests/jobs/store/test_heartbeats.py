"""Heartbeats by Redis's clock."""

import json
import time
from typing import Any

import pytest

from jobs.store.heartbeats import SILENCE_S
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import NewJob
from tests.jobs.conftest import with_settings

FACTS: dict[str, Any] = {"queues": ["fast"], "children": 1, "frozen": [], "free_s": 60.0}


@pytest.mark.parametrize("wrong_by_s", [-86400, 3600])
def test_the_clock_of_a_host_does_not_matter(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, wrong_by_s: float
) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + wrong_by_s)
    store.heartbeats.beat("w@far", FACTS)
    store.heartbeats.beat_upkeep("upkeep@far")
    monkeypatch.setattr(time, "time", lambda: right() - wrong_by_s)
    assert (store.heartbeats.workers(), store.heartbeats.upkeeps()) == ({"w@far": FACTS}, ["upkeep@far"])


def age(store: JobStore, sort: str, name: str, seconds: float) -> None:
    """Makes a heartbeat older."""
    store.client.zincrby(f"{PREFIX}{sort}", -seconds * 1000, name)


def test_silent_workers_are_away_and_after_a_day_forgotten(store: JobStore) -> None:
    for name in ("old", "silent", "new"):
        store.heartbeats.beat(name, FACTS)
    age(store, "workers", "old", 86_401)
    age(store, "workers", "silent", SILENCE_S + 1)
    assert set(store.heartbeats.workers()) == {"new"}
    store.heartbeats.beat("new", FACTS)
    assert store.client.zrange(f"{PREFIX}workers", 0, -1) == ["silent", "new"]


def test_what_workers_report_of_their_models_is_stored_and_read_once(store: JobStore) -> None:
    models = {"cards": [{"id": "vae", "text": "x" * 50_000}], "installed": ["vae"]}
    for number in range(100):
        store.heartbeats.beat(f"w{number}", FACTS | models)
    store.heartbeats.beat("other", FACTS | models | {"installed": []})
    store.client.config_resetstat()
    assert store.heartbeats.reports(60) == [models, models | {"installed": []}]
    assert store.heartbeats.workers()["w7"] == FACTS | models
    for number in range(100):
        store.heartbeats.beat(f"w{number}", FACTS | models)
    traffic: Any = store.client.info("stats")
    sent = (traffic["total_net_input_bytes"] + traffic["total_net_output_bytes"]) / 2**20
    print(f"100 workers of 50 KB of cards: reading them twice and a heartbeat of each took {sent:.2f} MB of traffic")
    assert sent < 1


def test_heartbeats_of_the_release_before_are_read(store: JobStore) -> None:
    """It stores all that a worker reports in one string, and reads that of this release."""
    old = FACTS | {"cards": [{"id": "old"}], "installed": ["old"]}
    store.protocol.call("beat", sort="worker", name="old", facts=json.dumps(old))
    store.heartbeats.beat("new", FACTS | {"cards": [{"id": "new"}], "installed": []})
    assert store.heartbeats.workers()["old"] == old
    whole = str(store.client.get(f"{PREFIX}worker:new"))
    assert json.loads(whole) == FACTS | {"cards": [{"id": "new"}], "installed": []}


def test_upkeep_may_be_silent_for_two_of_its_intervals(store: JobStore) -> None:
    slow = with_settings(store, sweep_s=60)
    store.heartbeats.beat_upkeep("upkeep@here")
    age(store, "upkeeps", "upkeep@here", SILENCE_S + 1)
    assert (store.heartbeats.upkeeps(), slow.heartbeats.upkeeps()) == ([], ["upkeep@here"])
    age(store, "upkeeps", "upkeep@here", 120)
    assert slow.heartbeats.upkeeps() == []


def test_a_childs_heartbeat_ends_by_itself(store: JobStore) -> None:
    store.heartbeats.beat_child("w/1", {"model_bytes": 5})
    assert store.heartbeats.living_children(["w/1", "w/2"]) == {"w/1": {"model_bytes": 5}}
    assert 0 < int(store.client.pttl(f"{PREFIX}child:w/1")) <= SILENCE_S * 1000  # type: ignore[arg-type]


def test_vitals_are_those_of_each_queue(store: JobStore) -> None:
    job_id, _ = store.create(NewJob(kind="test", queue="fast", params={}))
    store.create(NewJob(kind="test", queue="fast", params={}, priority=9))
    store.create(NewJob(kind="test", queue="gpu", params={}))
    store.claim("gpu", worker="w")
    store.client.hincrby(f"{PREFIX}job:{job_id}", "created_at", -60_000)
    vitals = store.heartbeats.vitals()
    assert vitals.waiting_s["fast"] == pytest.approx(60, abs=2), "the oldest, though another is the next"
    assert vitals.waiting_s["gpu"] == vitals.waiting_s["train"] == 0
    assert vitals.unclaimed_s["gpu"] < 2 and vitals.unclaimed_s["fast"] > 1e6
    assert (vitals.leases, vitals.overdue_leases) == (1, 0)
    [(lease, end)] = store.client.zrange(f"{PREFIX}leases", 0, -1, withscores=True)  # type: ignore[misc]
    store.client.zadd(f"{PREFIX}leases", {lease: end - (store.settings.lease_s + SILENCE_S + 1) * 1000})
    assert store.heartbeats.vitals().overdue_leases == 1
