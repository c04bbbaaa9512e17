"""Follows the event streams of any number of jobs over a few connections."""

import asyncio
from collections.abc import AsyncIterator

import redis.asyncio

from jobs.schemas import TERMINAL
from jobs.store.protocol import PREFIX
from jobs.store.records import Event, parse_event

CHANNEL = f"{PREFIX}events"  # the protocol publishes the id of each job that has a new event
BATCH = 100  # streams read at once, and events read from each
CHECK_S = 5

Waiting = dict[asyncio.Future[list[Event]], str]  # waiting followers, each with the id of its last event


class EventReader:
    """Reads the streams of all followed jobs for all their followers.

    A follower receives events when it asks for them, at most `BATCH` at a time, so a slow one delays no other and its
    unread events stay in Redis. A message on `CHANNEL` names the stream to read. Messages can be lost, so all streams
    are also checked every `CHECK_S` seconds.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: dict[str, Waiting] = {}  # by job
        self._due: set[str] = set()  # jobs that may have news
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def follow(self, job_id: str, after: str) -> AsyncIterator[Event]:
        """Yields the events of a job after the stream id `after` ("0" for all), up to its final status.

        Also ends when the job is deleted. Raises `RedisError` when Redis is unavailable.
        """
        while events := await self._news(job_id, after):
            for event in events:
                yield event
                if event.type == "status" and event.data["status"] in TERMINAL:
                    return
            after = events[-1].id

    async def aclose(self) -> None:
        """Stops reading and closes the connections."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._client.aclose()

    async def _news(self, job_id: str, after: str) -> list[Event]:
        """Waits for the next events of a job; returns none when its stream is gone."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        waiter: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, {})[waiter] = after
        self._look_at(job_id)
        try:
            return await waiter
        finally:
            del self._waiting[job_id][waiter]
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def _look_at(self, *job_ids: str) -> None:
        self._due.update(job_ids)
        self._wake.set()

    async def _run(self) -> None:
        error: BaseException = redis.asyncio.ConnectionError("The event reader was stopped.")
        try:
            async with asyncio.TaskGroup() as group:
                for part in (self._listen, self._read, self._check):
                    group.create_task(part())
        except* Exception as errors:  # each follower raises it
            error = errors.exceptions[0]
        finally:
            for waiter in [waiter for waiting in self._waiting.values() for waiter in waiting if not waiter.done()]:
                waiter.set_exception(error)

    async def _listen(self) -> None:
        async with self._client.pubsub() as pubsub:
            await pubsub.subscribe(CHANNEL)
            while True:
                message = await pubsub.get_message(timeout=CHECK_S)
                if message and message["type"] == "subscribe":
                    self._look_at(*self._waiting)  # earlier events were not announced to this subscription
                elif message and message["data"] in self._waiting:
                    self._look_at(message["data"])

    async def _read(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                # Nobody waits for the others now; the next follower marks them as due again.
                due = [job_id for job_id in self._due if job_id in self._waiting][:BATCH]
                self._due = self._due.difference(due) & self._waiting.keys()
                if due:
                    await self._deliver(due)

    async def _deliver(self, job_ids: list[str]) -> None:
        """Delivers the new events of these streams to the followers that wait for them."""
        streams = {_stream(job_id): min(self._waiting[job_id].values(), key=order) for job_id in job_ids}
        for stream, entries in await self._client.xread(streams, count=BATCH):  # type: ignore[arg-type]
            job_id = stream.removeprefix(_stream(""))
            events = [parse_event(event_id, fields) for event_id, fields in entries]
            for waiter, after in self._waiting.get(job_id, {}).items():
                news = [event for event in events if order(event.id) > order(after)]
                whole = order(after) >= order(streams[stream])  # False if this follower came later and starts earlier
                if news and whole and not waiter.done():
                    waiter.set_result(news)
            if len(entries) == BATCH:
                self._look_at(job_id)  # followers that are further ahead received nothing yet

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            job_ids = list(self._waiting)
            self._look_at(*job_ids)
            pipe = self._client.pipeline(transaction=False)
            for job_id in job_ids:
                pipe.exists(_stream(job_id))
            for job_id, exists in zip(job_ids, await pipe.execute(), strict=True):
                for waiter in [] if exists else self._waiting.get(job_id, {}):
                    if not waiter.done():
                        waiter.set_result([])


def order(event_id: str) -> tuple[int, ...]:
    """Key that sorts event ids by time."""
    return tuple(map(int, event_id.split("-")))


def _stream(job_id: str) -> str:
    return f"{PREFIX}events:{job_id}"
