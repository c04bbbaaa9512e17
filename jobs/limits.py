"""The limits of an API key: what its requests may ask for, and how much its tenant may have waiting and running."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from jobs.errors import BadInput, LimitReached
from jobs.requests.base import STRICT, Request, made_pixels, whole

Limit = Annotated[int, Field(ge=1, le=10**15)] | None
# Fields of requests that bound their work.
_STEPS = ("num_steps", "num_inference_steps")


class Limits(BaseModel):
    """Limits of a key; one that is absent does not apply."""

    model_config = ConfigDict(**STRICT, frozen=True)

    requests_per_minute: Annotated[Limit, Field(description="Requests of the key; as many may come at once.")] = None
    queued_jobs: Annotated[Limit, Field(description="Queued jobs of the tenant at which the key's are refused.")] = None
    running_jobs: Annotated[Limit, Field(description="Running jobs of the tenant at which the key's wait.")] = None
    pixels: Annotated[
        Limit, Field(description="Pixels of all images that one job makes: their number times their area.")
    ] = None
    steps: Annotated[Limit, Field(description="`num_steps` and `num_inference_steps` of a job.")] = None
    training_hours: Annotated[
        Limit, Field(description="Hours that the tenant's trainings ran in 30 days, at which the key's are refused.")
    ] = None
    stored_bytes: Annotated[
        Limit,
        Field(description="Bytes that the tenant stores, at which the key's uploads and jobs are refused."),
    ] = None
    priority: Annotated[int | None, Field(ge=-10, le=10, description="Highest `priority` of a job.")] = None

    _whole = field_validator("*", mode="before")(whole)

    def given(self) -> dict[str, int]:
        """The limits that apply."""
        return self.model_dump(exclude_none=True)

    def check(self, params: Request) -> None:
        """Raises `BadInput` for a resolved request of more than the key may ask for."""
        _check("priority", "priority", params.priority, self.priority)
        for field in _STEPS:
            _check(field, "steps", getattr(params, field, None) or 0, self.steps)
        self.check_pixels("size", made_pixels(params) * (getattr(params, "upscale", None) or 1) ** 2)

    def check_pixels(self, field: str, n: int) -> None:
        """Raises `BadInput` for a job that makes more pixels than the key may ask for."""
        _check(field, "pixels", n, self.pixels)


NO_LIMITS = Limits()


def _check(field: str, limit: str, asked: int, most: int | None) -> None:
    if most is not None and asked > most:
        message = f"{field}: The API key's limit of {limit} is {most}; the request has {asked}."
        raise BadInput("limit_exceeded", message, field=field, limit=limit, allowed=most)


def at_limit(limit: str, most: int) -> LimitReached:
    """The error for a limit that the tenant of a key has reached."""
    message = f"The API key's limit of {limit} is {most}, which its tenant has reached."
    retry_after = 5 if limit == "queued_jobs" else 3600
    return LimitReached("limit_reached", message, retry_after, limit=limit, allowed=most)
