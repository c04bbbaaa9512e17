"""Kind of job to the function that runs it, and to the one that runs several at once."""

from collections.abc import Sequence

from worker.run import BatchRunner, Made, Runner, Task
from worker.runners.style_transfer import run_style_transfer
from worker.runners.training import run_training


def run_generation(task: Task) -> Made:
    """See `worker.runners.generation`, which loads torch: only the first job that needs it does."""
    from worker.runners.generation import run_generation

    return run_generation(task)


def run_prompted(tasks: Sequence[Task]) -> Sequence[Made | Exception]:
    """See `worker.runners.text_to_image`; likewise."""
    from worker.runners.text_to_image import run_prompted

    return run_prompted(tasks)


def run_collection(task: Task) -> Made:
    """See `worker.runners.collection`; likewise."""
    from worker.runners.collection import run_collection

    return run_collection(task)


def run_plots(task: Task) -> Made:
    """See `worker.runners.plots`; likewise."""
    from worker.runners.plots import run_plots

    return run_plots(task)


def run_steering(task: Task) -> Made:
    """See `worker.runners.steering`; likewise."""
    from worker.runners.steering import run_steering

    return run_steering(task)


def run_sampling(task: Task) -> Made:
    """See `worker.runners.steering`; likewise."""
    from worker.runners.steering import run_sampling

    return run_sampling(task)


RUNNERS: dict[str, Runner] = {
    "style-transfer": run_style_transfer,
    "generation": run_generation,
    "training": run_training,
    "collection": run_collection,
    "collection-plots": run_plots,
    "pc-steering": run_steering,
    "cluster-sampling": run_sampling,
}
# Of those whose `compat` says that they may run together.
BATCH_RUNNERS: dict[str, BatchRunner] = {"generation": run_prompted}
