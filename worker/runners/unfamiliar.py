"""Warns of inputs unlike the training data of a model, and of prompt syntax that the model reads as text."""

from collections.abc import Sequence

from torch.nn import functional as F

from models.diffusion.prompts import plain_syntax, reads_weights, unknown_words
from models.diffusion.text_to_image import TextToImageModel
from models.familiarity import reconstruction_errors
from models.tensors import to_tensor
from worker.run import Pixels, Task
from worker.runners.network import Network

MAX_NAMES = 10  # in a message


def warn_of_prompt(task: Task, network: Network, field: str, prompt: str, *, weighted: bool = True) -> None:
    """Warns of words that are not in the captions of the training data, and of the syntax of other programs.

    weighted: whether weights such as (red)1.4 are read, if the model supports them.
    """
    module = network.module
    reads = weighted and isinstance(module, TextToImageModel) and reads_weights(module.pipeline)
    if parts := plain_syntax(prompt, weights=not reads):
        how = "; the weight of a word is written (word)1.3" if reads else ""
        task.warn("syntax_as_text", f"{field}: {listed(parts)} is read as plain text{how}.")
    known = network.card.training.get("words")
    if known and (unknown := unknown_words(prompt, known)):
        message = f"{field}: {network.card.id} was trained on captions without {listed(unknown)}; it knows"
        task.warn("unknown_words", f"{message} {listed(known, 100)}.")


def warn_of_images(task: Task, network: Network, field: str, images: Pixels) -> None:
    """Warns of images (n, h, w, 3) that a model reconstructs worse than each of its training images."""
    unlike, figures = unlike_training_data(network, images)
    if figures and unlike:
        error = max(error for _, error in unlike)
        which = "" if len(images) == 1 else f" ({listed([str(index) for index, _ in unlike])}, counted from 0)"
        message = (
            f"{field}: {len(unlike)} of {len(images)} images{which} are unlike those that {network.card.id} was "
            f"trained on: it reconstructs them with a mean absolute error of up to {error:.3f}, and each of "
            f"{figures['images']} training images with at most {figures['greatest']:.3f}."
        )
        task.warn("image_unlike_training", message)


def unlike_training_data(network: Network, images: Pixels) -> tuple[list[tuple[int, float]], dict[str, float] | None]:
    """The indices and errors of such images, and the figures of the card, if it has any."""
    figures: dict[str, float] | None = network.card.training.get("reconstruction_error")
    if figures is None:
        return [], None
    tensor, size = to_tensor(images, network.device), network.card.architecture["image_size"]
    if tensor.shape[2:] != (size, size):
        tensor = F.interpolate(tensor, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    errors = reconstruction_errors(network.module, tensor[:, : network.card.architecture.get("channels", 3)])
    assert errors is not None
    return [(k, error) for k, error in enumerate(errors.tolist()) if not error <= figures["greatest"]], figures


def listed(names: Sequence[str], most: int = MAX_NAMES) -> str:
    """Joins names with commas; says how many more there are than `most`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
