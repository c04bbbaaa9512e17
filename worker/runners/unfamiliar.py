"""Warns of inputs unlike the training data of a model, and of prompt syntax that the model reads as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.nn import functional as F

from models.catalogue import Card
from models.diffusion.embedding import Kandinsky
from models.diffusion.prompt_syntax import EMPTY_WORDS, meant_word, plain_syntax, unknown_words, words_of
from models.diffusion.prompts import reads_weights
from models.diffusion.text_to_image import TextToImageModel
from models.familiarity import Familiarity, familiarity
from models.space.collection import Members
from models.space.isolation import NEAREST, SHARE, distances_to
from models.space.photo import PhotoSpace
from models.space.style import MAX_STYLE_ERROR, MIN_CONTENT_KEPT, StyleSpace
from models.tensors import to_tensor
from worker.run import Pixels, Task
from worker.runners.network import Network
from worker.runners.space import LoadedSpace, Vectors

Cards = Sequence[Card]
MAX_NAMES = 10  # in a message
SPARSEST = 0.01  # the share of the members that are the most isolated, beyond which a point is far from all of them


def warn_of_prompt(
    task: Task, network: Network, field: str, prompt: str, *, weighted: bool = True, cut: str = "", loras: Cards = ()
) -> None:
    """Warns of words that are not in the training data, of other programs' syntax, and of the end that is `cut`.

    weighted: whether weights such as (red)1.4 are read, if the model supports them. loras: those in use, whose words
    are known too.
    """
    module = network.module
    reads = weighted and isinstance(module, TextToImageModel) and reads_weights(module.pipeline)
    if parts := plain_syntax(prompt, weights=not reads):
        how = "; the weight of a word is written (word)1.3" if reads else ""
        task.warn("syntax_as_text", f"{field}: {listed(parts)} is read as plain text{how}.")
    if cut:
        task.warn("prompt_cut", f"{field}: {network.card.id} reads no more of it; the rest is not used: {cut[:200]}.")
    taught = [word for lora in loras for word in lora.training.get("words", [])]
    _warn_of_words(task, network.card, field, prompt, taught)


def _warn_of_words(task: Task, card: Card, field: str, prompt: str, taught: Sequence[str]) -> None:
    """Warns of the words of a prompt that a model with a list of words does not know, and that nothing `taught` it."""
    known = card.training.get("words")
    if not known or not (unknown := unknown_words(prompt, [*known, *taught])):
        return
    meant = {word: near for word in unknown if card.training.get("typos") and (near := meant_word(word, known))}
    if meant:
        pairs = [f"{word} as {near}" for word, near in meant.items()]
        task.warn("typing_errors", f"{field}: {card.id} probably reads {listed(pairs)}.")
    if not (lost := [word for word in unknown if word not in meant]):
        return
    knows = f"it knows {listed([word for word in known if word not in EMPTY_WORDS], 100)}."
    if {*words_of(prompt)} <= {*lost, *EMPTY_WORDS}:
        message = (
            f"{field}: {card.id} knows nothing in it ({listed(lost)}), so it says nothing about the images; {knows}"
        )
        task.warn("prompt_unknown", message)
    else:
        task.warn("unknown_words", f"{field}: {card.id} was trained on texts without {listed(lost)}; {knows}")


def warn_of_images(task: Task, network: Network, field: str, images: Pixels) -> None:
    """Warns of images (n, h, w, 3) that a model reconstructs worse than each of its training images."""
    found = compared(network, images)
    if found is None or not found.unlike.any():
        return
    indices = found.unlike.nonzero().flatten().tolist()
    which = "" if len(images) == 1 else f" ({listed([str(index) for index in indices])}, counted from 0)"
    message = f"{field}: {len(indices)} of {len(images)} images{which} are unlike those that {network.card.id} was"
    task.warn("image_unlike_training", f"{message} trained on: {evidence(network, found)}.")


def warn_of_isolated(
    task: Task, space: LoadedSpace, field: str, members: Members, vectors: Vectors, tolerated: float = 0
) -> None:
    """Warns of encoded images (n, dim) that are unlike the members of a collection of photographs or styles.

    tolerated: the share of the images that may be. Other spaces are those of models, see `warn_of_images`.
    """
    if not isinstance(space.space, PhotoSpace | StyleSpace) or members.spacing is None:
        return
    distances = distances_to(members.vectors, vectors)
    n = int((distances > members.spacing).sum())
    if n > tolerated * len(vectors):
        message = (
            f"{field}: {n} of {len(vectors)} images are unlike the members of the collection: the cosine distance to "
            f"their {NEAREST} nearest is up to {distances.max():.3f}, and that of {SHARE:.0%} of the members at most "
            f"{members.spacing:.3f}."
        )
        task.warn("image_unlike_members", message)


def warn_of_styles(task: Task, placements: Sequence[Mapping[str, Any]]) -> None:
    """Warns of painted images whose style is far from the intended one, and of those that no longer show the content.

    By the `style_error` and the `content_kept` of their figures.
    """
    over = [each["style_error"] for each in placements if each.get("style_error", 0) > MAX_STYLE_ERROR]
    if over:
        message = (
            f"{len(over)} of {len(placements)} images, encoded again, have a style up to {max(over):.1f} from the "
            f"intended one (usual: up to {MAX_STYLE_ERROR:.1f}): the network does not paint such styles, and they may "
            "cover the content. Choose smaller strengths or another content."
        )
        task.warn("style_out_of_reach", message)
    covered = [each["content_kept"] for each in placements if each.get("content_kept", 1) < MIN_CONTENT_KEPT]
    if covered:
        message = (
            f"{len(covered)} of {len(placements)} images keep as little as {min(covered):.2f} of the structure of the "
            f"content (usual: {MIN_CONTENT_KEPT} and more): the strokes of their style cover it. Choose other clusters "
            "or points, or smaller strengths."
        )
        task.warn("content_covered", message)


def warn_of_distance(task: Task, placements: Sequence[Mapping[str, Any]]) -> None:
    """Warns of images decoded from points far from all members, by the `target_density` of their figures."""
    far = sum(each["target_density"] < SPARSEST for each in placements)
    if far:
        message = (
            f"{far} of {len(placements)} images are decoded from points that are farther from the nearest members than "
            f"{1 - SPARSEST:.0%} of the members are from theirs: no member says what lies there. Choose smaller "
            "strengths, a lower temperature or another start."
        )
        task.warn("far_from_members", message)


def evidence(network: Network, found: Familiarity) -> str:
    """The figures of the images that are unlike the training data, and those of the training data."""
    figures = network.card.training["reconstruction_error"]
    errors, relative = found.errors[found.unlike], found.relative[found.unlike]
    parts = [(errors, "greatest", ""), (relative, "greatest_relative", " times their contrast")]
    said = next(
        (
            f"of up to {values.max():.3f}{unit}, and each of {figures['images']} training images with at most "
            f"{figures[name]:.3f}"
            for values, name, unit in parts
            if name in figures and not (values <= figures[name]).all()
        ),
    )
    return f"it reconstructs them with a mean absolute error {said}"


def compared(network: Network, images: Pixels) -> Familiarity | None:
    """Compares images (n, h, w, 3) with the training images of a model; None if its card has no figures."""
    figures: dict[str, float] | None = network.card.training.get("reconstruction_error")
    if figures is None:
        return None
    architecture = network.card.architecture
    size = network.module.image_size if isinstance(network.module, Kandinsky) else architecture["image_size"]
    tensor = to_tensor(images, network.device)[:, : architecture.get("channels", 3)]
    if tensor.shape[2:] != (size, size):
        tensor = F.interpolate(tensor, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    return familiarity(network.module, tensor, figures)


def listed(names: Sequence[str], most: int = MAX_NAMES) -> str:
    """Joins names with commas; says how many more there are than `most`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
