"""Models of `models.build` as runners use them: images in and out, in batches, with progress."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from jobs.requests.base import filled
from jobs.requests.latents import Denoised
from jobs.settings import get_settings
from models.build import load_model
from models.catalogue import Card, card, revision
from models.generative.base import LatentAutoencoder, LatentModel
from models.generative.classifier import Classifier
from models.grids import sheet
from models.perceptual.vgg import VGG, load_vgg
from models.tensors import autocast, best_device, bytes_of, expect_class, has_convolutions, to_pixels, to_tensor
from worker.run import Pixels, Task
from worker.runners.images import center_squares
from worker.runners.loaded import loaded_model

if TYPE_CHECKING:  # imports diffusers
    from models.diffusion.unconditional import Ddpm, DenoisingStep

BATCH = 64
Preview = Callable[[range], Pixels]  # rows of a batch to their sheet


M = TypeVar("M", bound=nn.Module, covariant=True, default=nn.Module)
K = TypeVar("K", bound=nn.Module)


class Reporting(Protocol):
    """A task, or several that run as one."""

    @property
    def report_progress(self) -> Callable[..., None]:
        """Called with the steps done, those of all and a message."""


@dataclass(frozen=True)
class Network(Generic[M]):
    """A loaded model of the class M and its card. Images are arrays (n, h, w, 3) of 0 to 255."""

    card: Card
    module: M

    def expect(self, kind: type[K]) -> "Network[K]":
        """This network, typed by the class of its module; raises ArchitectureError for another class."""
        return Network(self.card, expect_class(self.module, kind))

    @property
    def device(self) -> torch.device:
        """The device that the model computes on; weights that do not fit may be elsewhere."""
        device: torch.device | None = getattr(self.module, "execution_device", None)  # of a TextToImageModel
        return device or next(self.module.parameters()).device

    @property
    def revision(self) -> str:
        """The first digits of the sha256 of the model's file or files."""
        return revision(self.card, get_settings().weights_dir)

    @property
    def latent_dim(self) -> int:
        """Number of values of a latent code z."""
        return int(self.card.architecture["latent_dim"])

    def inference(self) -> AbstractContextManager[Any]:
        """Disables gradients, and enables mixed precision for models with convolutions."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        if has_convolutions(self.module):
            stack.enter_context(autocast(self.device))
        return stack

    def read(self, task: Task, images: Sequence[str]) -> Pixels:
        """The center squares of a job's images, at the model's size and in its channels."""
        architecture = self.card.architecture
        read = [task.read_image(image) for image in images]
        return center_squares(read, architecture["image_size"], architecture["channels"])

    def tensor(self, images: Pixels) -> Tensor:
        """Converts images to the model's input, (n, channels, h, w) in [0, 1]."""
        return to_tensor(images, self.device)[:, : self.card.architecture["channels"]]

    def encode(self: "Network[LatentAutoencoder]", images: Pixels) -> Tensor:
        """Encodes images into the latent space, (n, latent_dim)."""
        with self.inference():
            return self.module.encode(self.tensor(images)).cpu()

    def decode(self: "Network[LatentModel]", task: Reporting, z: Tensor) -> Pixels:
        """Decodes z (n, latent_dim) to images and reports progress."""
        batches: list[Pixels] = []
        for part in z.split(BATCH):
            batches.append(pixels(self.images(part)))
            task.report_progress(sum(map(len, batches)), len(z), "decoding")
        return np.concatenate(batches)

    def images(self: "Network[LatentModel]", z: Tensor) -> Tensor:
        """Decodes a batch of z to images (n, channels, h, w) in [0, 1]."""
        with self.inference():
            return self.module.decode(z.to(self.device))

    def denoise(
        self: "Network[Ddpm]",
        report: Callable[[int, int, Preview], None],
        noise: Tensor,
        attributes: Tensor | None,
        params: Denoised,
        generators: Sequence[torch.Generator] | None = None,
        on_step: "Callable[[DenoisingStep], None]" = lambda step: None,
    ) -> Pixels:
        """Denoises noise (n, *shape), conditioned on attributes (n, k) if given.

        `report` is called with the number of steps done and of all, and a function that returns the sheet of some of
        the images as they are predicted.
        """
        from models.diffusion.unconditional import sample

        model, num_inference_steps = self.module, filled(params.num_inference_steps)
        starts = range(0, len(noise), BATCH)
        batches = []
        for start in starts:

            def on_each(step: "DenoisingStep", start: int = start) -> None:
                on_step(step)

                def preview(rows: range) -> Pixels:
                    inside = [row - start for row in rows if start <= row < start + BATCH] or [0]
                    return sheet(pixels(model.decode(step.pred_original_sample[inside])))

                done = start // BATCH * num_inference_steps
                report(done + step.step, len(starts) * num_inference_steps, preview)

            with self.inference():
                denoised = sample(
                    model,
                    noise[start : start + BATCH].to(self.device),
                    None if attributes is None else attributes[start : start + BATCH].to(self.device),
                    scheduler=filled(params.scheduler),
                    num_inference_steps=num_inference_steps,
                    guidance_scale=1.0 if params.guidance_scale is None else params.guidance_scale,
                    generators=generators[start : start + BATCH] if generators else None,
                    on_step=on_each,
                )
            batches.append(pixels(denoised))
        return np.concatenate(batches)

    def answers(self: "Network[Classifier]", images: Pixels) -> list[list[str]]:
        """The classifier's answer to each of its questions, for each image."""
        with self.inference():
            indices = self.module.answers(self.tensor(images)).tolist()
        return [[names[k] for names, k in zip(self.module.questions, row, strict=True)] for row in indices]


def pixels(images: Tensor) -> Pixels:
    """Converts images (n, 1 or 3, h, w) in [0, 1] to (n, h, w, 3) of 0 to 255."""
    array = to_pixels(images)
    return array.repeat(3, axis=3) if array.shape[3] == 1 else array


def load_network(task: Task, model_id: str, kind: type[K]) -> Network[K]:
    """A model of a class by its id, from the cache; raises WeightsError, and ArchitectureError for another class."""
    card, weights_dir = task.find_model(model_id), get_settings().weights_dir
    module = loaded_model(task, card, lambda: load_model(card, weights_dir, best_device()), bytes_of)
    return Network(card, expect_class(module, kind))


def loaded_vgg(task: Task, model_id: str) -> VGG:
    """The VGG of a card on the device of this process, from the cache; raises WeightsError."""
    weights_dir = get_settings().weights_dir
    return loaded_model(task, card(model_id), lambda: load_vgg(model_id, weights_dir, best_device()), bytes_of)


def load_card(task: Task, card: Card) -> None:
    """Loads the network of a card into the cache; raises WeightsError."""
    if card.architecture:
        load_network(task, card.id, nn.Module)
    else:
        loaded_vgg(task, card.id)
