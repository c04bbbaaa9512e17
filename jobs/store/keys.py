"""API keys, as Redis holds them: the sha256 of each secret, never the secret."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from jobs.errors import NotFound, Unauthorized
from jobs.limits import NO_LIMITS, Limits
from jobs.schemas import SafetyPolicy
from jobs.store.protocol import DEFAULT_TENANT, PREFIX, Protocol

Scope = Literal["read", "submit", "train", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
TENANT = r"^[a-z0-9][a-z0-9-]{0,39}$"
KEY_ID = r"^[0-9a-f]{12}$"
_SENT = re.compile(r"atl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")  # the id, and a secret of 256 bits


@dataclass(frozen=True)
class Key:
    """An API key without its secret; times are Unix milliseconds."""

    id: str
    name: str
    tenant: str
    scopes: tuple[Scope, ...]
    created_at: int = 0
    expires_at: int | None = None
    revoked_at: int | None = None
    limits: Limits = NO_LIMITS
    safety: SafetyPolicy | None = None  # None: that of the installation

    @property
    def is_valid(self) -> bool:
        """Whether it was neither revoked nor has expired."""
        return not (self.revoked_at or (self.expires_at and self.expires_at <= _now()))


@dataclass(frozen=True)
class Rate:
    """How many requests of a key may come a minute, how many of them now, and seconds until all may, and this one."""

    limit: int
    remaining: int
    reset_s: int
    wait_s: int


@dataclass(frozen=True)
class Usage:
    """What counts towards the limits of a key; `period_ends_at` is when `training_hours` begin at 0 again (Unix ms)."""

    requests_per_minute: int | None
    queued_jobs: int
    running_jobs: int
    training_hours: float
    stored_bytes: int
    period_ends_at: int


# Of requests without a key, while none was ever made: from the same machine, and from others, which cannot make keys
# because untrusted clients could shut everybody out.
LOCAL = Key("", "anonymous", DEFAULT_TENANT, SCOPES)
ANONYMOUS = replace(LOCAL, scopes=("read", "submit", "train"))


class Keys:
    """Makes, checks and revokes API keys; records of revoked ones stay."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def create(
        self,
        name: str,
        *,
        tenant: str = DEFAULT_TENANT,
        scopes: Sequence[Scope],
        expires_in: int | None = None,
        limits: Limits | None = None,
        safety: SafetyPolicy | None = None,
    ) -> tuple[Key, str]:
        """Makes a key that expires in `expires_in` seconds, if ever; returns it and its text, which is not stored."""
        key_id, now = secrets.token_hex(6), _now()
        text, digest = _new_text(key_id)
        fields: dict[str, str | int] = {"name": name, "tenant": tenant, "scopes": " ".join(scopes), "created_at": now}
        fields |= {"digest": digest} | ({"expires_at": now + expires_in * 1000} if expires_in else {})
        fields |= {"limits": limits.model_dump_json(exclude_none=True)} if limits else {}
        fields |= {"safety": safety} if safety else {}
        pipe = self._protocol.client.pipeline()
        pipe.hset(f"{PREFIX}key:{key_id}", mapping=fields)
        pipe.zadd(f"{PREFIX}keys", {key_id: now})
        pipe.execute()
        return self.get(key_id), text

    def all(self) -> list[Key]:
        """Returns every key, oldest first."""
        ids = cast(list[str], self._protocol.client.zrange(f"{PREFIX}keys", 0, -1))
        pipe = self._protocol.client.pipeline(transaction=False)
        for key_id in ids:
            pipe.hgetall(f"{PREFIX}key:{key_id}")
        return [_parse(key_id, fields) for key_id, fields in zip(ids, pipe.execute(), strict=True)]

    def get(self, key_id: str) -> Key:
        """Returns a key; raises `NotFound`."""
        fields = cast(dict[str, str], self._protocol.client.hgetall(f"{PREFIX}key:{key_id}"))
        if not fields:
            raise NotFound("key_not_found", f"There is no key {key_id}; list the keys for their ids.", key=key_id)
        return _parse(key_id, fields)

    def revoke(self, key_id: str) -> Key:
        """Ends a key at once and for good; raises `NotFound`."""
        self.get(key_id)
        self._protocol.client.hsetnx(f"{PREFIX}key:{key_id}", "revoked_at", str(_now()))
        return self.get(key_id)

    def rotate(self, key_id: str) -> tuple[Key, str]:
        """Gives a key another secret, which ends the old one at once; returns it and its text. Raises `NotFound`."""
        key = self.get(key_id)
        text, digest = _new_text(key_id)
        self._protocol.client.hset(f"{PREFIX}key:{key_id}", "digest", digest)
        return key, text

    def usage(self, key: Key) -> Usage:
        """Returns what counts towards the limits of a key; all but its requests are those of its whole tenant."""
        per_minute = key.limits.requests_per_minute
        asked = {"key": key.id, "per_minute": per_minute} if per_minute else {}
        requests, queued, running, trained_ms, *rest = self._protocol.of(key.tenant).call("usage", **asked)
        return Usage(requests if per_minute else None, queued, running, round(trained_ms / 3_600_000, 3), *rest)

    def exist(self) -> bool:
        """Whether a key was ever made."""
        return bool(self._protocol.client.exists(f"{PREFIX}keys"))

    def admit(self, text: str | None, *, anonymous: Key | None) -> tuple[Key, Rate | None]:
        """Returns the key whose text a request sent, or `anonymous` while there never was one; raises `Unauthorized`.

        One round trip. The request counts towards the key's limit of requests a minute, if it has one; the caller
        refuses it if it must wait. A text of another form, such as the token of a proxy, is no key.
        """
        sent = _SENT.fullmatch(text or "")
        asked = {"id": sent[1], "digest": _digest(sent[2])} if sent else {}
        outcome, row, pace = self._protocol.call("admit", **asked)
        fields = dict(zip(row[::2], row[1::2], strict=True))
        if sent is None:
            if outcome == "open" and anonymous:
                return anonymous, None
            raise Unauthorized("unauthorized", "Send an API key: `Authorization: Bearer atl_…` or `X-API-Key: atl_…`.")
        if not hmac.compare_digest(fields.get("digest", ""), asked["digest"]):
            raise _refused()
        key = _parse(sent[1], fields)
        if not key.is_valid:
            raise _refused()
        return key, Rate(*pace[:2], *(-(-ms // 1000) for ms in pace[2:])) if pace else None


def _new_text(key_id: str) -> tuple[str, str]:
    """Returns a new text of a key, and the digest of its secret."""
    secret = secrets.token_urlsafe(32)
    return f"atl_{key_id}_{secret}", _digest(secret)


def _digest(secret: str) -> str:
    # A secret of 256 random bits needs no slow hash: it cannot be guessed.
    return hashlib.sha256(secret.encode()).hexdigest()


def _refused() -> Unauthorized:
    return Unauthorized("unauthorized", "The API key is unknown, has expired or was revoked.")


def _parse(key_id: str, fields: dict[str, str]) -> Key:
    ended = {name: int(fields[name]) for name in ("expires_at", "revoked_at") if name in fields}
    scopes = cast(tuple[Scope, ...], tuple(fields["scopes"].split()))
    limits = Limits.model_validate_json(fields.get("limits", "{}"))
    safety = cast(SafetyPolicy | None, fields.get("safety"))
    made_at = int(fields["created_at"])
    return Key(key_id, fields["name"], fields["tenant"], scopes, made_at, limits=limits, safety=safety, **ended)


def _now() -> int:
    return time.time_ns() // 1_000_000
