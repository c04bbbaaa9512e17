import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs.settings import Settings, get_settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "abc", "ATELIER_PORT cannot be used: Input should be a valid integer"),
        ("PORT", "70000", "ATELIER_PORT cannot be used: Input should be less than or equal to 65535."),
        (
            "REDIS_URL",
            "http://me:secret@x",
            "ATELIER_REDIS_URL cannot be used: must start with redis://, rediss://,",
        ),
        ("REDIS_URL", "sentinel://:secret@x:1", "ATELIER_REDIS_URL cannot be used: must be sentinel://host:port,"),
        (
            "STORAGE_URL",
            "ftp://x",
            "ATELIER_STORAGE_URL cannot be used: must be a folder or start with file://, s3://,",
        ),
        ("DTYPE", "half", "ATELIER_DTYPE cannot be used: Input should be 'auto', 'float32' or 'bfloat16'."),
        ("WEBHOOK_SECRET", "my-secret", "ATELIER_WEBHOOK_SECRET cannot be used: must be whsec_ and 24 to 64 bytes"),
        ("LEASE_S", "0", "ATELIER_LEASE_S cannot be used: Input should be greater than 0.1."),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"ATELIER_{name}", value)
    get_settings.cache_clear()
    with pytest.raises(SystemExit) as ended:
        get_settings()
    message = str(ended.value.code)
    assert message.startswith(sentence) and "\n" not in message
    assert "secret" not in message.removeprefix(sentence)


@pytest.mark.parametrize("module", ["api", "worker.upkeep"])
def test_a_wrong_value_stops_the_start(module: str) -> None:
    """With that sentence, and no traceback, which would show the value."""
    env = {**os.environ, "ATELIER_REDIS_URL": "http://me:secret@x"}
    run = subprocess.run([sys.executable, "-m", module], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert run.stderr.startswith("ATELIER_REDIS_URL cannot be used: ") and run.stderr.count("\n") == 1
    assert "secret" not in run.stderr


@pytest.mark.parametrize("url", ["images", "/srv/images", "file:///srv/x", "s3://bucket", "gs://bucket", "az://box"])
def test_storage_is_a_folder_or_a_known_store(url: str) -> None:
    assert Settings(storage_url=url).storage_url == url


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]
