"""Kind of job to the function that runs it."""

from worker.run import Runner
from worker.runners.style_transfer import run_style_transfer

RUNNERS: dict[str, Runner] = {"style-transfer": run_style_transfer}
