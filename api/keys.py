"""API keys: make, list, rotate and revoke them; for keys with the scope `admin`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

import jobs.store.keys
from api.errors import error_responses
from api.json_route import JsonRoute
from api.present import time_of
from api.service import ServiceDep
from jobs.limits import NO_LIMITS, Limits
from jobs.requests.base import STRICT, distinct, whole
from jobs.schemas import SafetyPolicy
from jobs.store.keys import KEY_ID, SCOPES, TENANT, Scope
from jobs.store.protocol import DEFAULT_TENANT

router = APIRouter(tags=["keys"], route_class=JsonRoute)
KeyId = Annotated[
    str,
    Path(
        pattern=KEY_ID,
        description="The id of a key.",
        examples=["0123456789ab"],
        json_schema_extra={"format": "key-id"},
    ),
]
EXAMPLES: dict[str, Any] = {
    "of a tenant": {
        "summary": "A key of the tenant acme for 90 days",
        "value": {
            **{"name": "Web shop", "tenant": "acme", "scopes": ["read", "submit"], "expires_in": 7_776_000},
            "limits": {"requests_per_minute": 600, "queued_jobs": 100},
        },
    }
}


class ApiKey(BaseModel):
    """An API key without its secret."""

    id: Annotated[str, Field(pattern=KEY_ID, description="The part of the key after `atl_`.")]
    name: str
    tenant: Annotated[str, Field(description="The owner of what is made with the key.")]
    scopes: list[Scope]
    limits: Limits
    safety: Annotated[SafetyPolicy | None, Field(description="Null for the policy of the installation.")]
    created_at: datetime
    expires_at: Annotated[datetime | None, Field(description="Null for a key that does not expire.")]
    revoked_at: Annotated[datetime | None, Field(description="Null for a key that was not revoked.")]


class NewApiKey(ApiKey):
    """An API key with its text, which no other response shows."""

    key: Annotated[str, Field(description="What requests send: `atl_`, the id, `_` and the secret.")]


class ApiKeyList(BaseModel):
    """Every key, oldest first."""

    keys: list[ApiKey]


class KeyParams(BaseModel):
    """A key to make."""

    model_config = ConfigDict(**STRICT)

    name: Annotated[str, Field(min_length=1, max_length=100, description="Who or what uses it.")]
    tenant: Annotated[
        str,
        Field(pattern=TENANT, description="The owner of what is made with it, which all keys of a tenant use."),
    ] = DEFAULT_TENANT
    scopes: Annotated[
        list[Scope],
        Field(
            min_length=1,
            max_length=len(SCOPES),
            description="`read`: get and list; `submit`: all else except trainings (`train`) and keys (`admin`).",
            json_schema_extra={"uniqueItems": True},
        ),
    ] = ["read", "submit", "train"]
    expires_in: Annotated[
        int | None, Field(ge=1, le=10 * 366 * 86400, description="Seconds until it expires; never if absent.")
    ] = None

    limits: Annotated[Limits, Field(description="Limits of the key; none by default.")] = NO_LIMITS

    safety: Annotated[
        SafetyPolicy | None,
        Field(description="Policy of the safety filter for its jobs; that of the installation if absent."),
    ] = None

    _whole = field_validator("expires_in", mode="before")(whole)
    _distinct = field_validator("scopes")(distinct)


@router.post(
    "/v1/keys", status_code=201, summary="Make an API key", responses=error_responses(400, 408, 413, 415, 422, 503)
)
def create_key(
    params: Annotated[KeyParams, Body(openapi_examples=EXAMPLES)], service: ServiceDep, request: Request
) -> NewApiKey:
    """Returns the key once; only the sha256 of its secret is stored."""
    key, text = service.jobs.keys.create(**dict(params))
    request.scope["made"] = key.id
    return _with_text(key, text)


@router.get("/v1/keys", summary="List API keys", responses=error_responses(503))
def list_keys(service: ServiceDep) -> ApiKeyList:
    """Returns the keys of all tenants without their secrets, including those that expired or were revoked."""
    return ApiKeyList(keys=[ApiKey(**_facts(key)) for key in service.jobs.keys.all()])


@router.post("/v1/keys/{key_id}/rotate", summary="Replace a key's secret", responses=error_responses(404, 422, 503))
def rotate_key(key_id: KeyId, service: ServiceDep) -> NewApiKey:
    """Returns the key with another secret; the old one ends at once.

    To change over without a gap, make a second key and revoke the first when nothing uses it.
    """
    return _with_text(*service.jobs.keys.rotate(key_id))


@router.delete(
    "/v1/keys/{key_id}",
    status_code=204,
    summary="Revoke an API key",
    response_class=Response,
    responses=error_responses(404, 422, 503),
)
def revoke_key(key_id: KeyId, service: ServiceDep) -> Response:
    """Ends the key at once and for good; it stays in the list. Idempotent."""
    service.jobs.keys.revoke(key_id)
    return Response(status_code=204)


def _with_text(key: jobs.store.keys.Key, text: str) -> NewApiKey:
    return NewApiKey(**_facts(key), key=text)


def _facts(key: jobs.store.keys.Key) -> dict[str, Any]:
    return {
        **{name: getattr(key, name) for name in ("id", "name", "tenant", "limits", "safety")},
        "scopes": list(key.scopes),
        **{name: time_of(getattr(key, name)) for name in ("created_at", "expires_at", "revoked_at")},
    }
