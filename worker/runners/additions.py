"""What jobs add to a text-to-image model while they run: LoRAs, textual inversions, ControlNets and IP-Adapters."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel
from torch import Tensor

from cards.tokens import word
from jobs.requests.additions import Control, ImagePrompt
from jobs.requests.base import filled
from jobs.requests.generation import Prompted
from jobs.settings import get_settings
from models.catalogue import Card, checked_file
from models.diffusion.control import check_control
from models.diffusion.image_prompt import ImagePrompt as ImagePromptNetwork
from models.diffusion.image_prompt import with_image_prompt
from models.diffusion.lora import with_loras
from models.diffusion.text_to_image import TextToImageModel
from models.diffusion.textual_inversion import with_textual_inversions
from models.tensors import to_tensor
from worker.failures import failures
from worker.run import Task
from worker.runners.images import center_squares
from worker.runners.network import Network, load_network
from worker.runners.unfamiliar import listed

Prompter = Network[TextToImageModel]


@dataclass(frozen=True)
class Additions:
    """The cards of what is added; `written` returns a prompt with the words of vectors for `tokens`."""

    cards: list[Card]
    tokens: list[str]
    written: Callable[[str], str]
    controlnet: Any = None
    image_prompt: Tensor | None = None  # embeddings of an image, see `models.diffusion.image_prompt`

    def without_tokens(self, prompt: str) -> str:
        """Returns what a prompt says beside textual inversions."""
        for token in self.tokens:
            prompt = word(token).sub("", prompt)
        return prompt


@contextmanager
def with_additions(network: Prompter, tasks: Sequence[Task[Prompted]]) -> Iterator[Additions]:
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
        added = Additions([*loras, *inversions], list(files), written)
        if control := getattr(params, "control", None):
            added = replace(added, controlnet=_controlnet(network, tasks[0], control, added.cards))
        if prompt := getattr(params, "image_prompt", None):
            embeds = stack.enter_context(_with_image_prompt(network, tasks[0], prompt, added.cards))
            added = replace(added, image_prompt=embeds)
        yield added


def _controlnet(network: Prompter, task: Task[Prompted], control: Control, cards: list[Card]) -> Any:
    kind: Any = ControlNetModel
    loaded = load_network(task, control.model, kind)
    cards.append(loaded.card)
    pipeline: Any = network.module.pipeline
    with failures([control.model], network.card.id):
        check_control(pipeline, loaded.module)
    return loaded.module.to(pipeline.unet.dtype)


@contextmanager
def _with_image_prompt(
    network: Prompter, task: Task[Prompted], prompt: ImagePrompt, cards: list[Card]
) -> Iterator[Tensor]:
    """Puts the adapter on the network inside; yields the embeddings of the image and, for guidance, of none."""
    loaded = load_network(task, prompt.model, ImagePromptNetwork)
    cards.append(loaded.card)
    image = center_squares([task.read_image(prompt.image)], loaded.module.image_encoder.config.image_size, 3)
    with ExitStack() as stack:
        with failures([prompt.model], network.card.id), torch.inference_mode():
            hidden = stack.enter_context(with_image_prompt(network.module.pipeline, loaded.module, prompt.scale))
            embeds = loaded.module.encode(to_tensor(image, loaded.device), hidden=hidden)
        guided = filled(task.params.guidance_scale) > 1
        yield embeds.to(network.module.pipeline.unet.dtype) if guided else embeds[1:]


@contextmanager
def _with_loras(network: Prompter, cards: Sequence[Card], tasks: Sequence[Task[Prompted]]) -> Iterator[None]:
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
