"""Warnings of jobs whose inputs are not what a model was trained on, or not what their writer may think they are."""

from collections.abc import Sequence

from torch.nn import functional as F

from models.diffusion.prompts import plain_syntax, reads_weights, unknown_words
from models.diffusion.text_to_image import TextToImageModel
from models.familiarity import reconstruction_errors
from models.tensors import to_tensor
from worker.run import Pixels, Task
from worker.runners.network import Network

SHOWN = 10  # names in a message at most


def warn_of_prompt(task: Task, network: Network, field: str, prompt: str, *, weighted: bool = True) -> None:
    """Warns of words that the model's captions did not have, and of other programs' syntax.

    weighted: whether weights such as (red)1.4 are read, as far as the model can.
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


def warn_of_images(task: Task, network: Network, field: str, pictures: Pixels) -> None:
    """Warns of images (n, h, w, 3) that a model reconstructs worse than any of its training data, at its own size."""
    unlike, figures = unlike_training_data(network, pictures)
    if figures and unlike:
        error = max(error for _, error in unlike)
        which = "" if len(pictures) == 1 else f" ({listed([str(place) for place, _ in unlike])}, counted from 0)"
        message = (
            f"{field}: {len(unlike)} of {len(pictures)} images{which} are unlike those that {network.card.id} was "
            f"trained on: it reconstructs them with a mean absolute error of up to {error:.3f}, and each of "
            f"{figures['images']} training images with at most {figures['greatest']:.3f}."
        )
        task.warn("image_unlike_training", message)


def unlike_training_data(network: Network, pictures: Pixels) -> tuple[list[tuple[int, float]], dict[str, float] | None]:
    """The places and errors of such images, and the card's figures; none where the card has no figures."""
    figures: dict[str, float] | None = network.card.training.get("reconstruction_error")
    if figures is None:
        return [], None
    images, size = to_tensor(pictures, network.device), network.card.architecture["image_size"]
    if images.shape[2:] != (size, size):
        images = F.interpolate(images, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    errors = reconstruction_errors(network.module, images[:, : network.card.architecture.get("channels", 3)])
    assert errors is not None
    return [(k, error) for k, error in enumerate(errors.tolist()) if not error <= figures["greatest"]], figures


def listed(names: Sequence[str], most: int = SHOWN) -> str:
    """Names with commas, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
