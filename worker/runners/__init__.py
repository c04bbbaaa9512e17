"""Kind of job to the function that runs it, and to the one that runs several at once."""

from worker.run import BatchRunner, Runner
from worker.runners.lazy import lazy

RUNNERS: dict[str, Runner] = {
    "style-transfer": lazy("style_transfer", "run_style_transfer"),
    "generation": lazy("generation", "run_generation"),
    "training": lazy("training", "run_training"),
    "collection": lazy("collection", "run_collection"),
    "collection-plots": lazy("plots", "run_plots"),
    "pc-steering": lazy("steering", "run_steering"),
    "cluster-sampling": lazy("steering", "run_sampling"),
}
# For jobs with the same `compat`.
BATCH_RUNNERS: dict[str, BatchRunner] = {"generation": lazy("text_to_image", "run_prompted")}
