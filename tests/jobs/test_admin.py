"""`atelier-admin` makes, lists, rotates and revokes keys."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from safetensors.numpy import save

from jobs import admin
from jobs.store.jobs import JobStore
from jobs.store.records import Ending, NewJob
from jobs.store.webhooks import new_secret, secret_of
from tests.jobs.conftest import with_settings

Run = Callable[..., str]
LIMITS = ("--limit", "queued_jobs=5", "--limit", "priority=-2", "--safety", "flag")


@pytest.fixture
def run(store: JobStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command and returns what it prints."""
    monkeypatch.setattr(admin, "get_settings", lambda: store.settings)

    def main(*arguments: str) -> str:
        admin.main(arguments)
        return capsys.readouterr().out.strip()

    return main


def test_keys_are_made_listed_rotated_and_revoked(store: JobStore, run: Run) -> None:
    text = run("keys", "create", "Web shop", "--tenant", "shop", "--scopes", "read", "submit", "--days", "90", *LIMITS)
    key, _ = store.keys.admit(text, anonymous=None)
    assert (key.name, key.tenant, key.scopes) == ("Web shop", "shop", ("read", "submit"))
    assert key.safety == "flag"
    assert key.limits.given() == {"queued_jobs": 5, "priority": -2}
    assert key.expires_at and key.expires_at - key.created_at == 90 * 86_400_000
    rotated = run("keys", "rotate", key.id)
    assert store.keys.admit(rotated, anonymous=None)[0] == key
    assert run("keys", "revoke", key.id) == ""
    [line] = run("keys", "list").splitlines()
    assert (
        line.startswith(f"{key.id}  revoked ")
        and "read,submit" in line
        and line.endswith("Web shop  queued_jobs=5,priority=-2 safety=flag")
    )
    assert text not in line and rotated not in line


INK = """
id = "ink"
title = "Ink"
license = "MIT"
task = "lora"
base = "faces"
"""


def test_models_are_added_listed_and_removed(
    store: JobStore, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.heartbeats.beat("w1", {"cards": [{"id": "faces", "task": "text-to-image", "architecture": {}}]})
    monkeypatch.setattr(admin, "_follow", lambda jobs, job_id: print(job_id))
    card, file = tmp_path / "ink.toml", tmp_path / "a.safetensors"
    file.write_bytes(save({"a": np.ones(3)}))
    card.write_text(f'{INK}path = "{file}"')
    job = store.get(run("models", "add", str(card)))
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (job.kind, job.queue, job.params["archive"]) == ("model", "collect", f"zip_{sha}")
    [claimed] = store.claim("collect", worker="test")
    made = {"id": "ink", "task": "lora", "title": "Ink", "source": {"kind": "added"}, "files": {"ink.safetensors": sha}}
    store.finish(job.id, claimed.fence, Ending("succeeded", {}, model=made))
    assert run("models", "list").split() == ["ink", "lora", "Ink"]
    with pytest.raises(SystemExit, match="There is a model 'ink' already"):
        run("models", "add", str(card))
    assert run("models", "remove", "ink") == run("models", "list") == ""
    for text, says in [("id = 3", "id: Input should be"), (f'{INK}path = "/no"', "No such file"), (INK, "archive is")]:
        card.write_text(text)
        with pytest.raises(SystemExit, match=says):
            run("models", "add", str(card))
    file.write_bytes(file.read_bytes()[:-1])
    card.write_text(f'{INK}path = "{file}"')
    with pytest.raises(SystemExit, match="no whole"):
        run("models", "add", str(card))


def test_usage_of_a_key_is_printed_beside_its_limits(store: JobStore, run: Run) -> None:
    text = run("keys", "create", "One", "--tenant", "shop", "--limit", "queued_jobs=5")
    store.of("shop").create(NewJob("probe", "fast", {}))
    lines = run("keys", "usage", text.split("_")[1]).splitlines()
    assert lines[0].split() == ["queued_jobs", "1", "of", "5"]
    assert lines[3].split() == ["stored_bytes", "0", "of", "any", "number"]
    assert lines[4].startswith("training_hours begin at 0 again at 2")


def test_a_command_that_fails_says_why(store: JobStore, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="There is no key 000000000000"):
        run("keys", "revoke", "0" * 12)
    with pytest.raises(SystemExit):
        run("keys", "create", "One", "--tenant", "No Tenant")
    for limit in ("steps=many", "stairs=3", "steps"):
        with pytest.raises(SystemExit, match="--limit st"):
            run("keys", "create", "One", "--limit", limit)
    away = with_settings(store, redis_url="redis://127.0.0.1:1/0").settings
    monkeypatch.setattr(admin, "get_settings", lambda: away)
    with pytest.raises(SystemExit, match="Redis does not respond"):
        run("keys", "list")


def test_each_tenant_has_a_webhook_secret_of_its_own(
    store: JobStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="not set"):
        run("webhook-secret", "acme")
    signing = with_settings(store, webhook_secret=SecretStr(new_secret())).settings
    monkeypatch.setattr(admin, "get_settings", lambda: signing)
    assert run("webhook-secret", "default") == signing.webhook_secrets[0]
    assert run("webhook-secret", "acme") == secret_of("acme", signing.webhook_secrets[0])
    assert len({run("webhook-secret", tenant) for tenant in ("default", "acme", "other")}) == 3
