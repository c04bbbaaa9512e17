"""Models of `models.build` as runners use them: images in and out, in batches, with progress."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.requests.latents import Denoised
from jobs.settings import get_settings
from models.build import load_model
from models.catalogue import Card, card, revision
from models.diffusion.text_to_image import TextToImageModel
from models.diffusion.unconditional import Ddpm, DenoisingStep, sample
from models.generative.classifier import Classifier
from models.generative.dcgan import Dcgan
from models.generative.gan import Generator
from models.generative.vae import Vae
from models.grids import sheet
from models.perceptual.vgg import VGG, load_vgg
from models.tensors import autocast, best_device, bytes_of, to_pixels, to_tensor
from worker.run import Pixels, Task
from worker.runners.images import center_squares
from worker.runners.loaded import loaded_model

BATCH = 64


@dataclass(frozen=True)
class Network:
    """A loaded model and its card. Images are arrays (n, h, w, 3) of 0 to 255."""

    card: Card
    module: nn.Module

    @property
    def device(self) -> torch.device:
        """The device that the model computes on; weights that do not fit may be elsewhere."""
        if isinstance(self.module, TextToImageModel):
            return torch.device(self.module.pipeline._execution_device)
        return next(self.module.parameters()).device

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
        if not self.card.architecture["name"].startswith("mlp-"):
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

    def encode(self, images: Pixels) -> Tensor:
        """Encodes images into the latent space, (n, latent_dim)."""
        assert isinstance(self.module, Vae | Dcgan)
        with self.inference():
            return self.module.encode(self.tensor(images)).cpu()

    def decode(self, task: Task, z: Tensor) -> Pixels:
        """Decodes z (n, latent_dim) to images and reports progress."""
        batches: list[Pixels] = []
        for part in z.split(BATCH):
            batches.append(pixels(self.images(part)))
            task.report_progress(sum(map(len, batches)), len(z), "decoding")
        return np.concatenate(batches)

    def images(self, z: Tensor) -> Tensor:
        """Decodes a batch of z to images (n, channels, h, w) in [0, 1]."""
        assert isinstance(self.module, Vae | Generator)
        with self.inference():
            return self.module.decode(z.to(self.device))

    def denoise(
        self,
        task: Task,
        noise: Tensor,
        attributes: Tensor | None,
        params: Denoised,
        generators: Sequence[torch.Generator] | None = None,
        on_step: Callable[[DenoisingStep], None] = lambda step: None,
    ) -> Pixels:
        """Denoises noise (n, *shape), conditioned on attributes (n, k) if given, and reports progress."""
        model, num_inference_steps, scheduler = self.module, params.num_inference_steps, params.scheduler
        assert isinstance(model, Ddpm) and num_inference_steps and scheduler
        starts = range(0, len(noise), BATCH)
        batches = []
        for start in starts:

            def report(step: DenoisingStep, done: int = start // BATCH * num_inference_steps) -> None:
                on_step(step)
                total = len(starts) * num_inference_steps
                task.report_progress(
                    done + step.step, total, "denoising", lambda: sheet(pixels(model.decode(step.pred_original_sample)))
                )

            with self.inference():
                denoised = sample(
                    model,
                    noise[start : start + BATCH].to(self.device),
                    None if attributes is None else attributes[start : start + BATCH].to(self.device),
                    scheduler=scheduler,
                    num_inference_steps=num_inference_steps,
                    guidance_scale=1.0 if params.guidance_scale is None else params.guidance_scale,
                    generators=generators[start : start + BATCH] if generators else None,
                    on_step=report,
                )
            batches.append(pixels(denoised))
        return np.concatenate(batches)

    def answers(self, images: Pixels) -> list[list[str]]:
        """The classifier's answer to each of its questions, for each image."""
        assert isinstance(self.module, Classifier)
        with self.inference():
            indices = self.module.answers(self.tensor(images)).tolist()
        return [[names[k] for names, k in zip(self.module.questions, row, strict=True)] for row in indices]


def pixels(images: Tensor) -> Pixels:
    """Converts images (n, 1 or 3, h, w) in [0, 1] to (n, h, w, 3) of 0 to 255."""
    array = to_pixels(images)
    return array.repeat(3, axis=3) if array.shape[3] == 1 else array


def load_network(task: Task, model_id: str) -> Network:
    """A model by its id, from the cache; raises WeightsError."""
    card, weights_dir = task.find_model(model_id), get_settings().weights_dir
    return loaded_model(
        task,
        card,
        lambda: Network(card, load_model(card, weights_dir, best_device())),
        lambda network: bytes_of(network.module),
    )


def loaded_vgg(task: Task, model_id: str) -> VGG:
    """The VGG of a card on the device of this process, from the cache; raises WeightsError."""
    weights_dir = get_settings().weights_dir
    return loaded_model(task, card(model_id), lambda: load_vgg(model_id, weights_dir, best_device()), bytes_of)
