"""What a person sees, in a pseudo-terminal."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

from tests.stack import ROOT

CODE = """
from PIL import Image
from atelier_client.cli import terminal
terminal.print_rows(("id", "name"), [("builtin:19", "starry-blue")])
terminal.show(Image.new("RGB", (32, 32), (255, 0, 0)))
with terminal.bar("train") as update:
    update(3, 20, "step")
"""


def test_table_bar_and_preview(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 80))
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'client'}", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=follower, stdout=follower, stderr=follower, env=env, cwd=tmp_path
    )
    os.close(follower)
    text = b""
    while True:
        try:
            text += os.read(leader, 65536)
        except OSError:  # the end of a pseudo-terminal
            break
    os.close(leader)
    assert process.wait(60) == 0, text
    shown = text.decode()
    assert "id" in shown and "starry-blue" in shown
    assert ";2;255;0;0" in shown  # half cells of red
    assert "train step" in shown and "3/20" in shown
