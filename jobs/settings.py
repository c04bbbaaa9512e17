"""Every setting of Atelier, read from `ATELIER_*` environment variables (or a `.env` file)."""

import ipaddress
import re
import sys
from base64 import b64decode
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from images.limits import MAX_PIXELS
from jobs.schemas import SafetyPolicy
from jobs.sentinel import SCHEME, parse_address

STORAGE_SCHEMES = ("file", "s3", "gs", "az")


class Settings(BaseSettings):
    """The settings of a process; a test compares them with the table in `docs/reference/settings.md`."""

    model_config = SettingsConfigDict(
        env_prefix="ATELIER_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    redis_url: Annotated[
        str,
        Field(
            description=(
                "Redis or Valkey 7+, for records and the broker: redis://, rediss://, unix:///path?db=0 or"
                " sentinel://host:port,host:port/name?db=0"
            )
        ),
    ] = "redis://127.0.0.1:6399/0"
    storage_url: Annotated[
        str, Field(description="Object storage: a folder, s3://bucket, gs://bucket or az://container")
    ] = "data/objects"
    storage_endpoint: Annotated[str | None, Field(description="Endpoint of an S3-compatible store")] = None
    storage_public_endpoint: Annotated[
        str | None, Field(description="Endpoint in presigned links, if it differs from `storage_endpoint`")
    ] = None
    storage_retry_s: Annotated[
        float, Field(gt=0, description="How long a worker retries a failing store, in seconds")
    ] = 120
    data_dir: Annotated[Path, Field(description="Folder for the files of the embedded Valkey")] = Path("data")
    spool_dir: Annotated[Path, Field(description="Folder for uploads while they arrive: on a disk, not in memory")] = (
        Path("data/spool")
    )
    weights_dir: Annotated[Path, Field(description="Folder for fetched weights")] = Path("data/weights")

    host: Annotated[str, Field(description="Address the API binds")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535, description="Port the API binds")] = 8000
    allow_anonymous: Annotated[
        bool,
        Field(description="Whether everybody may use an address that is not loopback until the first API key is made"),
    ] = False

    cors_origins: Annotated[
        str | None,
        Field(description="Origins, separated by spaces, whose pages may call the API: `https://app.example`, or `*`"),
    ] = None

    default_model: Annotated[
        str | None,
        Field(
            description="Model of generations from a prompt that name none, by its id; when absent, the installed one "
            "with the largest images"
        ),
    ] = None

    model_memory_bytes: Annotated[
        int,
        Field(
            ge=1,
            description="Memory for the loaded models of a worker process, in bytes; a larger model is loaded alone",
        ),
    ] = 8 << 30
    warm_models: Annotated[
        str,
        Field(description="Ids of models that each process of a worker loads at its start, separated by commas"),
    ] = ""
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(description="Floating-point type of mixed precision; `auto` selects the fastest on the device"),
    ] = "auto"

    max_batch: Annotated[
        int, Field(ge=1, description="Compatible jobs that a worker claims at once, to run as one batch")
    ] = 16
    max_queue: Annotated[int, Field(ge=1, description="Jobs of a tenant in one queue before the API answers 429")] = (
        1000
    )
    max_upload_bytes: Annotated[int, Field(ge=1024, description="Largest request body and fetched image, in bytes")] = (
        25_000_000
    )
    max_archive_bytes: Annotated[int, Field(ge=1024, description="Largest upload of a zip archive, in bytes")] = (
        512 << 20
    )
    max_pixels: Annotated[
        int, Field(ge=4096, description="Maximum number of pixels of an image, uploaded or in a zip file")
    ] = MAX_PIXELS
    fetch_timeout_s: Annotated[float, Field(gt=0, description="Time to fetch one https image, in seconds")] = 10

    safety: Annotated[
        SafetyPolicy,
        Field(
            description=(
                "Safety filter of jobs whose API key has no policy of its own: `off`, `flag` (scores in"
                " `metrics.safety`) or `refuse` (jobs with a flagged image fail)"
            )
        ),
    ] = "off"
    safety_threshold: Annotated[
        float, Field(gt=0, le=1, description="Score at which the safety filter flags an image, on the workers")
    ] = 0.8

    c2pa_certificates: Annotated[
        Path | None,
        Field(
            description=(
                "PEM file of the certificate that signs outputs, followed by those that vouch for it; needs the extra"
                " `c2pa` on workers; unsigned if absent"
            )
        ),
    ] = None
    c2pa_key: Annotated[Path | None, Field(description="PEM file of the key of that certificate, in PKCS #8")] = None
    c2pa_algorithm: Annotated[
        Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"],
        Field(description="Signature algorithm of that key"),
    ] = "es256"

    log_format: Annotated[
        Literal["text", "json"], Field(description="Lines of the log on standard error: text or JSON objects")
    ] = "text"
    tracing: Annotated[
        bool, Field(description="Send OpenTelemetry traces as the `OTEL_*` variables say; needs the extra `otel`")
    ] = False

    webhook_secret: Annotated[
        SecretStr | None,
        Field(
            description=(
                "Signs webhooks of `webhook_url`: `whsec_` and 24 to 64 bytes in base64; two with a space between them"
                " both sign, to change over; unsigned if absent"
            )
        ),
    ] = None

    lease_s: Annotated[
        float, Field(gt=0.1, description="Lease of a claimed job, in seconds; renewed every third of it")
    ] = 30
    max_attempts: Annotated[
        int, Field(ge=1, description="Claims of one job before it fails with worker_lost, the last of them alone")
    ] = 3
    retry_delay_s: Annotated[float, Field(ge=0, description="Wait before the second attempt; doubles after each")] = 2
    job_timeout_s: Annotated[float, Field(gt=0, description="Time limit of one job, in seconds")] = 3600
    training_timeout_s: Annotated[float, Field(gt=0, description="Time limit of one training, in seconds")] = 86400
    sweep_s: Annotated[float, Field(gt=0, description="Interval of the upkeep process, in seconds")] = 5
    job_ttl_s: Annotated[int, Field(ge=1, description="How long a finished job is kept, in seconds")] = 7 * 86400
    image_ttl_s: Annotated[
        int, Field(ge=1, description="How long an uploaded image or archive is kept after its last use, in seconds")
    ] = 7 * 86400
    hold_s: Annotated[int, Field(ge=1, description="How long an object that no record names is kept, in seconds")] = (
        3600
    )
    link_ttl_s: Annotated[int, Field(ge=1, le=900, description="How long a presigned link is valid, in seconds")] = 900

    @property
    def is_open(self) -> bool:
        """Whether requests need no API key until the first one is made."""
        return self.allow_anonymous or self.is_local

    @property
    def is_local(self) -> bool:
        """Whether the address that the API binds is loopback."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def warm_model_ids(self) -> list[str]:
        """The ids in `warm_models`."""
        return [name.strip() for name in self.warm_models.split(",") if name.strip()]

    def timeout_s(self, queue: str) -> float:
        """Time limit of a job of this queue, in seconds."""
        return self.training_timeout_s if queue == "train" else self.job_timeout_s

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that sign webhooks of `webhook_url`."""
        return tuple(self.webhook_secret.get_secret_value().split()) if self.webhook_secret else ()

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secrets(cls, secrets: SecretStr | None) -> SecretStr | None:
        for secret in secrets.get_secret_value().split() if secrets else []:
            try:
                key = b64decode(secret.removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
                raise ValueError(
                    "must be whsec_ and 24 to 64 bytes in base64, or two of these with a space between them"
                )
        return secrets

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, url: str) -> str:
        if url.startswith(SCHEME):
            parse_address(url)
        elif not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss://, unix:// or sentinel://")
        return url

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, text: str | None) -> str | None:
        if any(not re.fullmatch(r"\*|https?://[a-z0-9.-]+(:[0-9]+)?", origin) for origin in (text or "").split()):
            raise ValueError("must be origins such as https://app.example or http://localhost:3000, or *")
        return text

    @field_validator("storage_url")
    @classmethod
    def _storage_scheme(cls, url: str) -> str:
        if "://" in url and url.split("://")[0] not in STORAGE_SCHEMES:
            raise ValueError("must be a folder or start with file://, s3://, gs:// or az://")
        return url


@lru_cache
def get_settings() -> Settings:
    """Returns the settings; exits with a one-line message if a value is invalid."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(("ATELIER", *map(str, first["loc"]))).upper()
        reason = first["msg"].removeprefix("Value error, ")
        sys.exit(f"{name} cannot be used: {reason}.")  # without the value, which may hold a password
