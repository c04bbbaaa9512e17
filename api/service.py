"""The connections that every endpoint uses, created once per process."""

from dataclasses import dataclass, replace
from typing import Annotated

from celery import Celery
from fastapi import Depends, Request

from api.access import KEY
from api.readiness import Probe, Ready, make_readiness
from api.tables import Tables
from jobs.events import EventReader
from jobs.objects import Objects
from jobs.queue import make_celery
from jobs.settings import Settings
from jobs.store.client import connect, connect_async
from jobs.store.jobs import JobStore
from jobs.store.keys import ANONYMOUS, Key


@dataclass(frozen=True)
class Service:
    """Access to jobs, events, objects, tables of members, Celery, the readiness checks, the request's key."""

    settings: Settings
    jobs: JobStore
    events: EventReader
    objects: Objects
    tables: Tables
    celery: Celery
    readiness: Probe[Ready]
    key: Key = ANONYMOUS


def make_service(settings: Settings) -> Service:
    """Creates the service of a process; nothing is connected before its first use.

    Retries end after a second for Redis and after ten for storage; the API then returns 503 and the client can retry.
    """
    jobs = JobStore(connect(settings, attempts=2), settings)
    objects = Objects(settings, jobs, retry_s=min(10, settings.storage_retry_s))
    events = EventReader(connect_async(settings))
    return Service(settings, jobs, events, objects, Tables(objects), make_celery(settings), make_readiness(settings))


async def get_service(request: Request) -> Service:
    """Returns the service of the app, whose `jobs` show only what belongs to the tenant of this request's key.

    It is a coroutine, as every dependency that does not wait: FastAPI runs others in a thread, which takes longer.
    """
    service: Service = request.app.state.service
    key: Key | None = request.scope.get(KEY)
    if key is None:
        return service
    jobs = service.jobs.of(key.tenant)
    return replace(service, jobs=jobs, objects=service.objects.of(jobs, key.limits.stored_bytes), key=key)


ServiceDep = Annotated[Service, Depends(get_service)]
