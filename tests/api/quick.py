"""The real worker, which paints whatever was asked for at 64 pixels and in two steps: fuzzing asks for the largest."""

from worker import app as worker_app
from worker.run import Made, Task
from worker.runners import RUNNERS
from worker.runners.style_transfer import run_style_transfer

app = worker_app.app


def run_quickly(task: Task) -> Made:
    """A style transfer, made small."""
    steps = {"num_steps": 2} if "num_steps" in task.params else {}
    task.params = {**task.params, "size": 64, **steps}
    return run_style_transfer(task)


RUNNERS["style-transfer"] = run_quickly
