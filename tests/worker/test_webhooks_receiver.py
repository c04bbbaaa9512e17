"""The receiver of the how-to guide runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from jobs.store.webhooks import new_secret
from tests.stack import ROOT, free_port, wait_until
from worker.webhooks import signed

DELIVERY = "msg_" + "0" * 36
BODY = '{"type": "job.succeeded", "timestamp": "2026-01-01T00:00:00+00:00", "data": {"id": "job_1"}}'


def test_the_receiver_of_the_guide_takes_signed_webhooks_only(tmp_path: Path) -> None:
    guide = (ROOT / "docs/how-to/receive-webhooks.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", guide, flags=re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 16
    (tmp_path / "receiver.py").write_text(code)
    secret, port = new_secret(), free_port()
    env = os.environ | {"WEBHOOK_SECRET": secret, "PORT": str(port)}
    process = subprocess.Popen([sys.executable, tmp_path / "receiver.py"], env=env, stdout=subprocess.PIPE)
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_until(lambda: _reaches(url), 10, "the receiver")
        headers = signed(DELIVERY, BODY, (new_secret(), secret))
        assert httpx.post(url, content=BODY, headers=headers).status_code == 204
        assert httpx.post(url, content=BODY.replace("job_1", "job_2"), headers=headers).status_code == 400
        assert httpx.post(url, content=BODY, headers=signed(DELIVERY, BODY, (new_secret(),))).status_code == 400
    finally:
        process.terminate()
    assert process.communicate()[0].decode() == f"{DELIVERY} job.succeeded job_1\n"


def _reaches(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 501
    except httpx.TransportError:
        return False
