"""What jobs add to a text-to-image model while they run: LoRAs and textual inversions."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cards.tokens import word
from jobs.requests.generation import Prompted
from jobs.settings import get_settings
from models.catalogue import Card, checked_file
from models.diffusion.lora import with_loras
from models.diffusion.text_to_image import TextToImageModel
from models.diffusion.textual_inversion import with_textual_inversions
from worker.failures import failures
from worker.run import Task
from worker.runners.network import Network
from worker.runners.unfamiliar import listed


@dataclass(frozen=True)
class Additions:
    """The cards of what is added; `written` returns a prompt with the words of vectors for `tokens`."""

    cards: list[Card]
    tokens: list[str]
    written: Callable[[str], str]

    def without_tokens(self, prompt: str) -> str:
        """Returns what a prompt says beside textual inversions."""
        for token in self.tokens:
            prompt = word(token).sub("", prompt)
        return prompt


@contextmanager
def with_additions(network: Network[TextToImageModel], tasks: Sequence[Task[Prompted]]) -> Iterator[Additions]:
    """Adds to the network, inside, what the tasks name, which all name the same; the model itself stays as it was.

    Raises WeightsError for a missing file, AtelierError for an unusable one.
    """
    params = tasks[0].params
    loras = [tasks[0].find_model(lora.model) for lora in params.loras]
    inversions = [tasks[0].find_model(name) for name in params.textual_inversions]
    with ExitStack() as stack:
        stack.enter_context(_with_loras(network, loras, tasks))
        files = {str(card.architecture["token"]): _file(card) for card in inversions}
        with failures([card.id for card in inversions], network.card.id), tasks[0].loading():
            written = stack.enter_context(with_textual_inversions(network.module, files))
        yield Additions([*loras, *inversions], list(files), written)


@contextmanager
def _with_loras(
    network: Network[TextToImageModel], cards: Sequence[Card], tasks: Sequence[Task[Prompted]]
) -> Iterator[None]:
    scales = [lora.scale for lora in tasks[0].params.loras]
    files = [_file(card) for card in cards]
    with ExitStack() as stack:
        with failures([card.id for card in cards], network.card.id), tasks[0].loading():
            unused = stack.enter_context(with_loras(network.module, list(zip(files, scales, strict=True))))
        for card, names in zip(cards, unused, strict=True):
            if names:
                message = f"{len(names)} tensors of LoRA {card.id} fit no layer of {network.card.id} and are not used"
                for task in tasks:
                    task.warn("lora_keys_unused", f"{message}: {listed(names)}.")
        yield


def _file(card: Card) -> Path:
    return checked_file(card, next(iter(card.files)), get_settings().weights_dir)
