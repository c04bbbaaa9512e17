"""Events of many jobs followed by one reader, against a real Valkey."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis import RedisError

from jobs import events
from jobs.events import EventReader
from jobs.store.client import connect_async
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Event, Record
from tests.jobs.store.helpers import end, make, take
from tests.stack import Stack


@asynccontextmanager
async def reading(store: JobStore) -> AsyncIterator[EventReader]:
    """Event reader of the current event loop."""
    reader = EventReader(connect_async(store.settings))
    try:
        yield reader
    finally:
        await reader.aclose()


def report(store: JobStore, job: Record, numbers: range) -> None:
    """Adds progress events with these steps."""
    for number in numbers:
        assert store.report(job.id, job.fence, "progress", {"step": number}) == "running"


def steps(heard: list[Event]) -> list[int]:
    """Returns the steps of progress events."""
    return [event.data["step"] for event in heard if event.type == "progress"]


async def all_of(reader: EventReader, job_id: str, after: str = "0", pause_s: float = 0) -> list[Event]:
    """Follows a job to its end as a client that is slow with each event."""
    heard = []
    async for event in reader.follow(job_id, after):
        heard.append(event)
        await asyncio.sleep(pause_s)
    return heard


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Runs an asynchronous test for at most 30 seconds."""
    asyncio.run(asyncio.wait_for(work(), 30))


def test_each_follower_has_every_event_once_in_order_wherever_it_begins(store: JobStore) -> None:
    make(store)
    job = take(store)
    report(store, job, range(250))
    middle = store.client.xrange(f"{PREFIX}events:{job.id}", count=102)[-1][0]  # type: ignore[index]

    async def work() -> None:
        async with reading(store) as reader:
            followers = [asyncio.create_task(all_of(reader, job.id, after)) for after in ("0", middle, "0", middle)]
            await asyncio.sleep(0.2)
            await asyncio.to_thread(report, store, job, range(250, 500))
            followers.append(asyncio.create_task(all_of(reader, job.id)))
            await asyncio.to_thread(end, store, job)
            heard = await asyncio.gather(*followers)
            assert [steps(one) for one in heard] == [list(range(first, 500)) for first in (0, 100, 0, 100, 0)]
            assert all(one[-1].data["status"] == "succeeded" for one in heard)
            assert reader._waiting == {}, "who has gone is forgotten"

    run(work)


@pytest.mark.parametrize("seed", range(3))
def test_followers_that_come_at_any_time_from_anywhere_at_any_pace_miss_nothing(store: JobStore, seed: int) -> None:
    dice = random.Random(seed)
    make(store)
    job = take(store)
    report(store, job, range(150))
    ids = [event_id for event_id, _ in store.client.xrange(f"{PREFIX}events:{job.id}")]  # type: ignore[union-attr]

    async def work() -> None:
        async with reading(store) as reader:
            writing = asyncio.create_task(asyncio.to_thread(report, store, job, range(150, 600)))
            followers, begin = [], []
            while not writing.done():
                begin.append(dice.randrange(2, 152))  # the first two events are of its states
                pace = all_of(reader, job.id, ids[begin[-1] - 1], dice.choice([0, 0, 0.0005]))
                followers.append(asyncio.create_task(pace))
                await asyncio.sleep(dice.uniform(0, 0.02))
            await asyncio.to_thread(end, store, job)
            heard = await asyncio.gather(*followers)
            assert [steps(one) for one in heard] == [list(range(first - 2, 600)) for first in begin]

    run(work)


def test_a_slow_follower_holds_up_no_other_and_is_given_no_more_than_it_can_take(store: JobStore) -> None:
    make(store)
    job = take(store)

    async def work() -> None:
        async with reading(store) as reader:
            slow = reader.follow(job.id, "0")
            first = await anext(slow)  # and then it takes nothing until all is over
            quick = asyncio.create_task(all_of(reader, job.id))
            await asyncio.to_thread(report, store, job, range(1000))
            await asyncio.to_thread(end, store, job)
            assert steps(await asyncio.wait_for(quick, 10)) == list(range(1000))
            assert reader._waiting == {}, "nothing is kept for it here"
            assert steps([first, *[event async for event in slow]]) == list(range(1000))

    run(work)


def test_followers_of_many_jobs_share_a_few_connections(store: JobStore) -> None:
    ids = [make(store) for _ in range(300)]
    before = len(store.client.client_list())  # type: ignore[arg-type]

    async def work() -> None:
        async with reading(store) as reader:
            followers = [asyncio.create_task(all_of(reader, job_id)) for job_id in ids for _ in range(2)]
            await asyncio.sleep(0.5)
            during = len(store.client.client_list())  # type: ignore[arg-type]
            for job_id in ids:
                await asyncio.to_thread(store.cancel, job_id)
            heard = await asyncio.gather(*followers)
            assert all([event.data["status"] for event in one] == ["queued", "canceled"] for one in heard)
            print(f"{len(followers)} followers of {len(ids)} jobs: {during - before} connections")
            assert during - before <= 3

    run(work)


def test_an_event_that_was_not_announced_is_delivered(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example one that an older release wrote, or that was published while the connection was down."""
    monkeypatch.setattr(events, "CHECK_S", 0.2)
    job_id = make(store)

    async def work() -> None:
        async with reading(store) as reader:
            follower = reader.follow(job_id, "0")
            await anext(follower)
            missed = {"type": "progress", "data": '{"step": 1}'}
            asyncio.get_running_loop().call_later(0.1, lambda: store.client.xadd(f"{PREFIX}events:{job_id}", missed))  # type: ignore[arg-type]
            assert (await asyncio.wait_for(anext(follower), 5)).data == {"step": 1}

    run(work)


def test_stream_of_a_deleted_job_ends(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "CHECK_S", 0.2)
    job_id = make(store)

    async def work() -> None:
        async with reading(store) as reader:
            follower = asyncio.create_task(all_of(reader, job_id))
            await asyncio.sleep(0.1)
            store.client.delete(f"{PREFIX}job:{job_id}", f"{PREFIX}events:{job_id}")
            assert len(await asyncio.wait_for(follower, 5)) == 1
            assert await all_of(reader, "job_none") == []

    run(work)


def test_followers_notice_a_cut_or_a_restart_and_resume_where_they_were(valkey: Stack, store: JobStore) -> None:
    make(store)
    job = take(store)

    async def until_cut(reader: EventReader, heard: list[Event]) -> None:
        with pytest.raises(RedisError):
            async for event in reader.follow(job.id, heard[-1].id if heard else "0"):
                heard.append(event)

    def restart() -> None:
        valkey.kill("valkey")
        valkey.start_valkey()

    async def work() -> None:
        heard: list[Event] = []
        async with reading(store) as reader:
            for round_, cut in enumerate([lambda: store.client.client_kill_filter(_type="pubsub"), restart]):
                follower = asyncio.create_task(until_cut(reader, heard))
                await asyncio.to_thread(report, store, job, range(10 * round_, 10 * round_ + 10))
                while len(steps(heard)) < 10 * round_ + 10:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(cut)
                await asyncio.wait_for(follower, 10)
            await asyncio.to_thread(report, store, job, range(20, 30))
            await asyncio.to_thread(end, store, job)
            heard += await all_of(reader, job.id, heard[-1].id)
        assert steps(heard) == list(range(30))

    run(work)
