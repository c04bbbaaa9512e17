"""Claiming jobs: order, batches, priorities, competing workers."""

import random
import threading
import time
from collections import Counter

import pytest

import jobs.store.jobs
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import FORMAT
from tests.jobs.conftest import Wire, with_settings
from tests.jobs.store.helpers import make, make_later, pass_by, take


def places(store: JobStore, ids: list[str]) -> list[int | None]:
    """The `queue_position` of each job."""
    return [place for place, _ in store.queue_places([store.get(job_id) for job_id in ids])]


def test_higher_priority_runs_first_and_then_the_older(store: JobStore) -> None:
    dice = random.Random(1)
    ids = [make(store, priority=dice.randint(-10, 10)) for _ in range(60)]
    jobs = [store.get(job_id) for job_id in ids]
    expected = [job.id for job in sorted(jobs, key=lambda job: (-job.priority, job.created_at, job.id))]
    assert places(store, expected) == list(range(60))
    assert [take(store).id for _ in expected] == expected
    assert store.claim("fast", worker="w") == []
    assert places(store, ids[:1]) == [None]


def claims(store: JobStore, names: dict[str, str], limit: int = 9) -> list[list[str]]:
    """Claims the rest of a queue; returns the names of the jobs in each batch."""
    batches = []
    while records := store.claim("fast", worker="w", limit=limit):
        batches.append([names[job.id] for job in records])
    return batches


def test_one_claim_takes_like_jobs_and_leaves_unlike_ones(store: JobStore) -> None:
    names = {make_later(store, compat=compat): f"{compat}{n}" for n, compat in enumerate("abaaab")}
    names |= {make_later(store, compat=""): f"alone{n}" for n in range(2)}
    assert claims(store, names, limit=3) == [["a0", "a2", "a3"], ["b1", "b5"], ["a4"], ["alone0"], ["alone1"]]


def test_a_batch_takes_no_job_before_one_of_higher_priority(store: JobStore) -> None:
    priorities = {"a0": 2, "b1": 1, "a2": 1, "a3": 0, "c4": 0, "b5": 0, "a6": -1, "a7": 2}
    names = {make_later(store, compat=name[0], priority=priority): name for name, priority in priorities.items()}
    assert claims(store, names) == [["a0", "a7", "a2"], ["b1", "b5"], ["a3"], ["c4"], ["a6"]]


def test_waiting_raises_the_rank_of_a_job_so_that_none_starves(store: JobStore) -> None:
    """Ten minutes count as one step of priority, for the claim and for `queue_position`."""
    minutes = {"fresh 10": (10, 0), "fresh 0": (0, 0), "old 0": (0, 99), "older 0": (0, 101), "oldest -10": (-10, 203)}
    names = {make_later(store, priority=priority): name for name, (priority, _) in minutes.items()}
    for job_id, name in names.items():
        store.client.hincrby(f"{PREFIX}job:{job_id}", "created_at", -minutes[name][1] * 60_000)
    for job in [take(store) for _ in names]:
        store.release(job.id, job.fence)  # and are queued by their new age
    order = ["oldest -10", "older 0", "fresh 10", "old 0", "fresh 0"]
    by_name = {name: job_id for job_id, name in names.items()}
    assert places(store, [by_name[name] for name in order]) == list(range(5))
    assert claims(store, names, limit=1) == [[name] for name in order]


def test_jobs_of_a_batch_whose_worker_died_run_alone(store: JobStore) -> None:
    quick = with_settings(store, retry_delay_s=0)
    names = {make_later(store, compat="a"): str(n) for n in range(16)}
    batch = store.claim("fast", worker="w", limit=16)
    assert len(batch) == 16
    released, *lapsed = [job.id for job in batch]
    assert store.release(released, 1) == "queued"
    for job_id in lapsed:
        pass_by(store, "leases", job_id)
    quick.sweep()
    names |= {make_later(store, compat="a"): "new"}
    assert claims(store, names, limit=16) == [["0", "new"], *([str(n)] for n in range(1, 16))]


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_a_job_fails_only_after_an_attempt_of_its_own(store: JobStore, max_attempts: int) -> None:
    strict = with_settings(store, retry_delay_s=0, max_attempts=max_attempts)
    ids = [make_later(store, compat="a") for _ in range(3)]
    for expected in ([ids], *([[job_id]] for job_id in ids)):
        batch = [job.id for job in store.claim("fast", worker="w", limit=3)]
        assert [batch] == expected
        for job_id in batch:
            pass_by(store, "leases", job_id)
        strict.sweep()
        assert {store.get(job_id).status for job_id in batch} == {"failed" if len(batch) == 1 else "queued"}


def test_claim_is_of_one_queue(store: JobStore) -> None:
    job_id = make(store, queue="gpu")
    assert store.claim("fast", worker="w") == []
    assert take(store, "gpu").id == job_id


def test_claim_whose_answer_was_lost_loses_no_job(store: JobStore, far_store: JobStore, wire: Wire) -> None:
    far_store.depths()
    assert far_store.claim("fast", worker="w") == []
    first, second = make(store, priority=1), make(store)
    wire.lose_next_answer()
    assert take(far_store).id == second
    pass_by(store, "leases", first)
    store.sweep()
    pass_by(store, "delayed", first)
    store.sweep()
    assert take(far_store).id == first


def test_fifty_threads_claim_one_job_and_one_wins_a_thousand_times(store: JobStore) -> None:
    rounds, threads = 1000, 50
    made: list[str] = []
    won: list[str] = []
    barrier = threading.Barrier(threads, action=lambda: made.append(make(store)))

    def compete() -> None:
        for _ in range(rounds):
            barrier.wait(60)
            won.extend(job.id for job in store.claim("fast", worker=threading.current_thread().name))

    started = time.perf_counter()
    competitors = [threading.Thread(target=compete) for _ in range(threads)]
    for thread in competitors:
        thread.start()
    for thread in competitors:
        thread.join()
    winners = Counter(won)
    seconds = time.perf_counter() - started
    print(f"J2: {len(made)} jobs, {threads} threads each, {winners.total()} wins, {seconds:.1f} s")
    assert winners == Counter(made)
    assert all(store.get(job_id).attempt == 1 for job_id in made)


def test_records_of_a_newer_format_are_left_to_newer_workers(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are passed over, alone and in a batch, whatever their priority; records without a format are read."""
    oldest = make_later(store, compat="a")
    store.client.hdel(f"{PREFIX}job:{oldest}", "format")
    with monkeypatch.context() as newer:
        newer.setattr(jobs.store.jobs, "FORMAT", FORMAT + 1)
        newest = make_later(store, compat="a", priority=5)
        own = make_later(store, compat="a")
        store.client.hset(f"{PREFIX}job:{own}", "format", str(FORMAT))
    assert [job.id for job in store.claim("fast", worker="w", limit=9)] == [oldest, own]
    assert store.claim("fast", worker="w") == []
    assert store.get(newest).status == "queued"
    monkeypatch.setattr(jobs.store.jobs, "FORMAT", FORMAT + 1)
    assert take(store).id == newest


def taken(store: JobStore, names: dict[str, str], *loaded: str, number: int = 1) -> str:
    """The names of the jobs that a worker with these models claims one after another."""
    return "".join(names[store.claim("fast", worker="w", loaded=loaded)[0].id] for _ in range(number))


def test_a_worker_prefers_jobs_whose_models_it_has_loaded(store: JobStore) -> None:
    loads = {"a": ["m"], "b": ["n"], "c": ["n", "lora"], "d": [], "e": ["n"]}
    names = {make_later(store, loads=models): name for name, models in loads.items()}
    assert taken(store, names, "n") == "b"
    assert taken(store, names, "n", "lora") == "c"
    assert taken(store, names) == "a", "without models, in order"
    assert taken(store, names, "n") == "d", "the most urgent needs no model"
    assert taken(store, names, "m") == "e", "nothing fits"


def rank_first(store: JobStore, names: dict[str, str], first: str) -> None:
    """Ranks a job first, as if it had waited for long."""
    [job_id] = [each for each, name in names.items() if name == first]
    store.client.zadd(f"{PREFIX}queue:fast", {job_id: 0})


def test_no_job_is_passed_over_often_or_by_one_of_lower_priority(store: JobStore) -> None:
    names = {make_later(store, loads=["m"]): "a"} | {make_later(store, loads=["n"]): "b" for _ in range(9)}
    assert taken(store, names, "n", number=10) == "bbbbabbbbb"
    names = {make_later(store, loads=["m"], priority=1): "a", make_later(store, loads=["n"]): "b"}
    assert taken(store, names, "n", number=2) == "ab"
    names = {make_later(store, loads=["m"], priority=p): name for name, p in (("a", 0), ("b", 1), ("c", 0))}
    rank_first(store, names, "a")
    n = make_later(store, loads=["n"])
    assert taken(store, names | {n: "n"}, "n", number=4) == "abnc", "it passes c, and not b"
    names = {make_later(store, loads=["m"]): "a" for _ in range(20)} | {make_later(store, loads=["n"]): "b"}
    assert taken(store, names, "n", number=21) == "ab" + "a" * 19, "at first beyond the look-ahead"


def test_a_preferred_job_leads_its_batch(store: JobStore) -> None:
    loads = {"a0": "m", "b1": "n", "a2": "m", "b3": "n"}
    names = {make_later(store, loads=[model], compat=model): name for name, model in loads.items()}
    batch = store.claim("fast", worker="w", limit=9, loaded=["n"])
    assert [names[job.id] for job in batch] == ["b1", "b3"]


def test_two_workers_with_room_for_one_model_each_seldom_load_another(store: JobStore) -> None:
    """Jobs of two models alternate; a worker that takes what comes loads a model for nearly every job."""
    figures = {}
    for prefers in (True, False):
        dice = random.Random(3)
        for _ in range(100):
            make_later(store, loads=[dice.choice("mn")])
        holds: list[list[str]] = [[], []]
        loads = 0
        for turn in range(100):
            [job] = store.claim("fast", worker="w", loaded=holds[turn % 2] if prefers else [])
            models = str(store.client.hget(f"{PREFIX}job:{job.id}", "models")).split()
            loads += models != holds[turn % 2]
            holds[turn % 2] = models
        figures[prefers] = loads
    print(f"loads of a model for 100 jobs of two models by two workers: {figures[True]}, in order {figures[False]}")
    assert figures[True] * 4 < figures[False]
