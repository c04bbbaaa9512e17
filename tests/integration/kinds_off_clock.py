"""The worker of `kinds.py` on a host whose clock is CLOCK_OFF_S seconds fast."""

import os
import time

OFF_S = float(os.environ["CLOCK_OFF_S"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + OFF_S
time.time_ns = lambda: _time_ns() + int(OFF_S * 1e9)

from tests.integration.kinds import app  # noqa: E402  # after the clock is set

__all__ = ["app"]
