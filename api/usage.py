"""What a tenant has used of the limits of an API key."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.errors import error_responses
from api.present import time_of
from api.service import ServiceDep
from jobs.limits import Limits

router = APIRouter(tags=["keys"])


class Used(BaseModel):
    """What counts towards the limit of the same name; all but the requests are those of the whole tenant."""

    requests_per_minute: Annotated[
        int | None, Field(description="Requests of the key that count now, this one included; null without a limit.")
    ]
    queued_jobs: Annotated[int, Field(description="Queued jobs.")]
    running_jobs: Annotated[int, Field(description="Running jobs.")]
    training_hours: Annotated[float, Field(description="Hours of trainings that ended in this period of 30 days.")]
    stored_bytes: Annotated[int, Field(description="Bytes of all objects, each counted once.")]


class Usage(BaseModel):
    """What a tenant has used of the limits of the key that asks."""

    tenant: str
    used: Used
    limits: Annotated[Limits, Field(description="Of the key that asks; one that is null does not apply.")]
    period_ends_at: Annotated[datetime, Field(description="When `training_hours` begin at 0 again.")]


@router.get("/v1/usage", summary="Get usage and limits", responses=error_responses(503))
def get_usage(service: ServiceDep) -> Usage:
    """Returns what counts towards the limits of the key, and these limits.

    Without limits the figures are counted too, except requests. A job counts from its submission on, an object from
    before it is stored, and a training when it ends.
    """
    key = service.key
    used = asdict(service.jobs.keys.usage(key))
    ends_at = time_of(used.pop("period_ends_at"))
    return Usage(tenant=key.tenant, used=Used(**used), limits=key.limits, period_ends_at=ends_at)
