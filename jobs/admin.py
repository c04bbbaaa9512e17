"""`atelier-admin`: manages API keys and models, weighs tenants and prints their webhook secrets, over Redis."""

import argparse
import re
import sys
import time
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from kombu.exceptions import OperationalError
from pydantic import ValidationError
from redis import RedisError

from jobs.errors import AtelierError
from jobs.intake.archives import is_weights
from jobs.limits import Limits
from jobs.objects import Objects
from jobs.queue import make_celery, nudge
from jobs.requests.added_model import AddedModel
from jobs.requests.facts import Facts
from jobs.schemas import SafetyPolicy
from jobs.settings import get_settings
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from jobs.store.keys import SCOPES, TENANT, Key
from jobs.store.protocol import DEFAULT_TENANT
from jobs.store.records import NewJob
from jobs.store.references import new_holder
from jobs.store.webhooks import secret_of

_LIMITS = f"one of {', '.join(Limits.model_fields)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; exits with one line if it fails."""
    options = _parser().parse_args(arguments)
    settings = get_settings()
    try:
        options.run(JobStore(connect(settings, attempts=0), settings), options)
    except AtelierError as error:
        sys.exit(error.message)
    except RedisError as error:
        sys.exit(f"Redis does not respond at ATELIER_REDIS_URL: {type(error).__name__}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("atelier-admin", description="Administers an installation over its Redis.")
    commands = parser.add_subparsers(required=True)
    weight = commands.add_parser("weight", help="set a tenant's share of the claims; 1 by default")
    weight.add_argument("tenant", type=_tenant)
    weight.add_argument("weight", type=_weight)
    weight.set_defaults(run=lambda jobs, options: jobs.set_weight(options.tenant, options.weight))
    secret = commands.add_parser("webhook-secret", help="print what signs the webhooks of a tenant's `webhook_url`")
    secret.add_argument("tenant", type=_tenant)
    secret.set_defaults(run=_webhook_secret)
    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True)
    create = keys.add_parser("create", help="make a key and print it, once")
    create.add_argument("name", help="who or what uses it")
    create.add_argument("--tenant", type=_tenant, default=DEFAULT_TENANT, help="the owner of what is made with it")
    create.add_argument("--scopes", nargs="+", choices=SCOPES, default=["read", "submit", "train"])
    create.add_argument("--days", type=int, help="until it expires; never if absent")
    create.add_argument("--limit", dest="limits", action="append", default=[], metavar="NAME=VALUE", help=_LIMITS)
    create.add_argument("--safety", choices=get_args(SafetyPolicy), help="instead of ATELIER_SAFETY")
    create.set_defaults(run=_create)
    keys.add_parser("list", help="print all keys").set_defaults(run=_list)
    models = commands.add_parser("models", help="models of one's own").add_subparsers(required=True)
    add = models.add_parser("add", help="add the model of a card, and follow the job that fetches it")
    add.add_argument("card", type=Path, help="a TOML file; its `path` may be a .safetensors file of this machine")
    add.set_defaults(run=_add_model)
    models.add_parser("list", help="print the added models").set_defaults(run=_list_models)
    remove = models.add_parser("remove", help="delete an added model that no job needs")
    remove.add_argument("id")
    remove.set_defaults(run=_remove_model)
    for name, run, text in (
        ("rotate", _rotate, "rotate a key"),
        ("revoke", _revoke, "revoke a key"),
        ("usage", _usage, "print what counts towards the limits of a key, and these limits"),
    ):
        command = keys.add_parser(name, help=text)
        command.add_argument("id", help="its id, the 12 characters after atl_")
        command.set_defaults(run=run)
    return parser


def _tenant(text: str) -> str:
    if not re.fullmatch(TENANT, text):
        raise argparse.ArgumentTypeError("a tenant is 1 to 40 of the characters a-z, 0-9 and -")
    return text


def _weight(text: str) -> float:
    weight = float(text)
    if not 0.01 <= weight <= 100:
        raise argparse.ArgumentTypeError("a weight is 0.01 to 100")
    return weight


def _webhook_secret(jobs: JobStore, options: argparse.Namespace) -> None:
    secrets = get_settings().webhook_secrets
    if not secrets:
        sys.exit("ATELIER_WEBHOOK_SECRET is not set, so webhooks are not signed.")
    print(secret_of(options.tenant, secrets[0]))


def _create(jobs: JobStore, options: argparse.Namespace) -> None:
    expires_in = options.days * 86400 if options.days else None
    try:
        limits = Limits.model_validate_strings(dict(each.partition("=")[::2] for each in options.limits), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        sys.exit(f"--limit {'.'.join(map(str, first['loc']))}: {first['msg']}.")
    made = {"tenant": options.tenant, "scopes": options.scopes, "expires_in": expires_in, "limits": limits}
    made["safety"] = options.safety
    print(jobs.keys.create(options.name, **made)[1])


def _list(jobs: JobStore, options: argparse.Namespace) -> None:
    for key in jobs.keys.all():
        limits = ",".join(f"{name}={value}" for name, value in key.limits.given().items())
        limits += f" safety={key.safety}" if key.safety else ""
        print(f"{key.id}  {_state(key):28}{key.tenant:20}{','.join(key.scopes):28}{key.name}  {limits}".rstrip())


def _state(key: Key) -> str:
    if key.revoked_at:
        return f"revoked {_date(key.revoked_at)}"
    return f"expires {_date(key.expires_at)}" if key.expires_at else "valid"


def _date(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}Z"


def _rotate(jobs: JobStore, options: argparse.Namespace) -> None:
    print(jobs.keys.rotate(options.id)[1])


def _revoke(jobs: JobStore, options: argparse.Namespace) -> None:
    jobs.keys.revoke(options.id)


def _add_model(jobs: JobStore, options: argparse.Namespace) -> None:
    try:
        values = tomllib.loads(options.card.read_text(encoding="utf-8"))
        if path := values.pop("path", None):
            values["archive"] = _upload(jobs, Path(path))
        params = AddedModel(**values, seed=0).resolved(Facts(jobs))
    except ValidationError as error:
        first = error.errors()[0]
        names = (*first["loc"], *filter(None, [first.get("ctx", {}).get("field")]))
        sys.exit(f"{options.card}: {'.'.join(map(str, names))}: {first['msg']}.")
    except (OSError, ValueError) as error:
        sys.exit(f"{options.card}: {error}.")
    job = NewJob(params.kind, params.queue, params.stored(), archives=params.uses().archives)
    job_id, _ = jobs.create(job)
    with suppress(OperationalError):  # upkeep sends it
        nudge(make_celery(jobs.settings), params.queue, job_id)
    _follow(jobs, job_id)


def _upload(jobs: JobStore, path: Path) -> str:
    """Stores a file as `POST /v1/archives` does; returns its id."""
    with path.open("rb") as file:
        if not is_weights(file):
            raise ValueError(f"{path} is no whole .safetensors file")
        holder = new_holder()
        sha = Objects(jobs.settings, jobs, retry_s=1).put_file(file, "application/octet-stream", holder=holder)
    jobs.archives.put(sha, {"size_bytes": path.stat().st_size, "n_files": 1, "vectors": None, "weights": True}, holder)
    return f"zip_{sha}"


def _follow(jobs: JobStore, job_id: str) -> None:
    """Prints the progress of a job until its end; exits with its error if it does not succeed."""
    shown = ""
    while not (record := jobs.get(job_id)).finished:
        text = record.progress["message"] if record.progress else "queued"
        if text != shown:
            print(text)
        shown = text
        time.sleep(0.25)
    if record.error or record.status != "succeeded":
        sys.exit(record.error["message"] if record.error else f"The job {job_id} is {record.status}.")
    print(f"{record.metrics['model']} is added")


def _list_models(jobs: JobStore, options: argparse.Namespace) -> None:
    for model in jobs.models.all():
        if model.is_added:
            print(f"{model.card['id']:32}{model.card['task']:16}{model.card['title']}")


def _remove_model(jobs: JobStore, options: argparse.Namespace) -> None:
    if not jobs.models.get(options.id).is_added:
        sys.exit(f"{options.id} was trained: delete it with DELETE /v1/models/{options.id}.")
    jobs.models.remove(options.id)


def _usage(jobs: JobStore, options: argparse.Namespace) -> None:
    key = jobs.keys.get(options.id)
    limits, used = key.limits.given(), asdict(jobs.keys.usage(key))
    ends_at = used.pop("period_ends_at")
    for name, value in used.items():
        if value is not None:
            print(f"{name:20} {value} of {limits.get(name, 'any number')}")
    print(f"training_hours begin at 0 again at {_date(ends_at)}")


if __name__ == "__main__":
    main()
