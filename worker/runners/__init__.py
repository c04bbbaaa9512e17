"""Kind of job to the function that runs it."""

from worker.run import Made, Runner, Task
from worker.runners.style_transfer import run_style_transfer
from worker.runners.training import run_training


def run_generation(task: Task) -> Made:
    """See `worker.runners.generation`, which loads torch: only the first job that needs it does."""
    from worker.runners.generation import run_generation

    return run_generation(task)


RUNNERS: dict[str, Runner] = {
    "style-transfer": run_style_transfer,
    "generation": run_generation,
    "training": run_training,
}
