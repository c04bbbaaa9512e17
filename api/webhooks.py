"""Webhooks: register endpoints for the ends of jobs, rotate their secrets, list and replay deliveries."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.errors import error_responses
from api.json_route import JsonRoute
from api.present import time_of
from api.service import ServiceDep
from api.submit import check_webhook
from jobs.requests.base import STRICT, WebhookUrl, distinct
from jobs.schemas import JOB_ID
from jobs.store.webhooks import DELIVERY_ID, ENDPOINT_ID, EVENTS, Delivery, DeliveryStatus, Endpoint, Event

router = APIRouter(tags=["webhooks"], route_class=JsonRoute)
WebhookId = Annotated[
    str,
    Path(
        pattern=ENDPOINT_ID,
        description="The id of a webhook.",
        examples=["whk_0123456789ab"],
        json_schema_extra={"format": "webhook-id"},
    ),
]
DeliveryId = Annotated[
    str,
    Path(
        pattern=DELIVERY_ID,
        description="The id of a delivery.",
        examples=["msg_" + "0" * 36],
        json_schema_extra={"format": "delivery-id"},
    ),
]
EXAMPLES: dict[str, Any] = {
    "failures": {
        "summary": "The jobs that fail or expire",
        "value": {"url": "https://example.com/hooks/atelier", "events": ["job.failed", "job.expired"]},
    }
}


class WebhookParams(BaseModel):
    """A webhook to register."""

    model_config = ConfigDict(**STRICT)

    url: Annotated[WebhookUrl, Field(description="A public https URL that gets a POST for each event.")]
    events: Annotated[
        list[Event],
        Field(
            min_length=1, max_length=len(EVENTS), description="What to report.", json_schema_extra={"uniqueItems": True}
        ),
    ] = list(EVENTS)

    _distinct = field_validator("events")(distinct)


class RegisteredWebhook(BaseModel):
    """A registered webhook without its secret."""

    id: Annotated[str, Field(pattern=ENDPOINT_ID)]
    url: str
    events: list[Event]
    created_at: datetime
    disabled_at: Annotated[datetime | None, Field(description="When it answered 410 Gone; nothing is sent since.")]


class NewWebhook(RegisteredWebhook):
    """A registered webhook with its secret, which no other response shows."""

    secret: Annotated[str, Field(description="Verifies its deliveries: `whsec_` and 32 bytes in base64.")]


class WebhookList(BaseModel):
    """Every registered webhook, oldest first."""

    webhooks: list[RegisteredWebhook]


class DeliveryAttempt(BaseModel):
    """One call of a receiver."""

    at: datetime
    status: Annotated[int | None, Field(description="Status of the answer; null without one.")]
    error: Annotated[str | None, Field(description="Why there was none, such as `url_not_allowed`.")]
    took_ms: int


class WebhookDelivery(BaseModel):
    """What one receiver is sent about one finished job."""

    id: Annotated[str, Field(pattern=DELIVERY_ID, description="The header `webhook-id` of every attempt.")]
    job: Annotated[str, Field(pattern=JOB_ID)]
    webhook: Annotated[str | None, Field(description="The registered webhook; null for the job's `webhook_url`.")]
    url: str
    event: Event
    status: Annotated[DeliveryStatus, Field(description="`failed` after the last try, a 410, or without its webhook.")]
    created_at: datetime
    next_attempt_at: Annotated[datetime | None, Field(description="Null once it is delivered or failed.")]
    attempts: Annotated[list[DeliveryAttempt], Field(description="Oldest first.")]


class DeliveryPage(BaseModel):
    """One page of deliveries, newest first; pass `next_cursor` as `cursor` for the next page."""

    deliveries: list[WebhookDelivery]
    next_cursor: str | None


class DeliveryFilter(BaseModel):
    """Query parameters of the list; others are refused."""

    model_config = ConfigDict(extra="forbid")

    job: Annotated[str | None, Field(pattern=JOB_ID, description="Only deliveries of this job.")] = None
    status: Annotated[DeliveryStatus | None, Field(description="Only deliveries with this status.")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of deliveries on a page.")] = 20
    cursor: Annotated[str | None, Field(pattern=DELIVERY_ID, description="`next_cursor` of the previous page.")] = None


@router.post(
    "/v1/webhooks",
    status_code=201,
    summary="Register a webhook",
    responses=error_responses(400, 408, 409, 413, 415, 422, 503),
)
def create_webhook(
    params: Annotated[WebhookParams, Body(openapi_examples=EXAMPLES)], service: ServiceDep
) -> NewWebhook:
    """Returns the webhook with its secret. Each job that ends from now on is reported to its `url`; at most ten."""
    check_webhook(params.url, "url")
    return _with_secret(service.jobs.endpoints.create(params.url, params.events))


@router.get("/v1/webhooks", summary="List registered webhooks", responses=error_responses(503))
def list_webhooks(service: ServiceDep) -> WebhookList:
    """Returns the webhooks without their secrets."""
    return WebhookList(webhooks=[RegisteredWebhook(**_facts(each)) for each in service.jobs.endpoints.all()])


@router.post(
    "/v1/webhooks/{webhook_id}/rotate", summary="Replace a webhook's secret", responses=error_responses(404, 422, 503)
)
def rotate_webhook(webhook_id: WebhookId, service: ServiceDep) -> NewWebhook:
    """Returns the webhook with another secret. For a day deliveries have two signatures, of the new and the old one."""
    return _with_secret(service.jobs.endpoints.rotate(webhook_id))


@router.post(
    "/v1/webhooks/{webhook_id}/enable", summary="Enable a disabled webhook", responses=error_responses(404, 422, 503)
)
def enable_webhook(webhook_id: WebhookId, service: ServiceDep) -> RegisteredWebhook:
    """Sends to a webhook again that answered 410. What failed meanwhile can be replayed. Idempotent."""
    return RegisteredWebhook(**_facts(service.jobs.endpoints.enable(webhook_id)))


@router.delete(
    "/v1/webhooks/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    response_class=Response,
    responses=error_responses(404, 422, 503),
)
def delete_webhook(webhook_id: WebhookId, service: ServiceDep) -> Response:
    """Deletes the webhook; its pending deliveries fail."""
    service.jobs.endpoints.delete(webhook_id)
    return Response(status_code=204)


@router.get(
    "/v1/webhook-deliveries", summary="List webhook deliveries, newest first", responses=error_responses(422, 503)
)
def list_deliveries(service: ServiceDep, delivery_filter: Annotated[DeliveryFilter, Query()]) -> DeliveryPage:
    """Returns a page of deliveries with their attempts; `status=failed` lists those that were given up."""
    page, next_cursor = service.jobs.deliveries.page(**delivery_filter.model_dump())
    return DeliveryPage(deliveries=list(map(_delivery, page)), next_cursor=next_cursor)


@router.post(
    "/v1/webhook-deliveries/{delivery_id}/replay",
    summary="Send a delivery again",
    responses=error_responses(404, 409, 422, 503),
)
def replay_delivery(delivery_id: DeliveryId, service: ServiceDep) -> WebhookDelivery:
    """Makes the delivery due now, with the same id and body and all tries; a call that is running goes on."""
    return _delivery(service.jobs.deliveries.replay(delivery_id))


def _with_secret(endpoint: Endpoint) -> NewWebhook:
    return NewWebhook(**_facts(endpoint), secret=endpoint.secrets[0])


def _facts(endpoint: Endpoint) -> dict[str, Any]:
    return {
        **{name: getattr(endpoint, name) for name in ("id", "url")},
        "events": list(endpoint.events),
        **{name: time_of(getattr(endpoint, name)) for name in ("created_at", "disabled_at")},
    }


def _delivery(delivery: Delivery) -> WebhookDelivery:
    return WebhookDelivery(
        **{name: getattr(delivery, name) for name in ("id", "job", "url", "event", "status")},
        webhook=delivery.endpoint,
        **{name: time_of(getattr(delivery, name)) for name in ("created_at", "next_attempt_at")},
        attempts=[DeliveryAttempt(**attempt | {"at": time_of(attempt["at"])}) for attempt in delivery.attempts],
    )
