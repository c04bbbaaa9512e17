"""A model of `models.build` in the hands of a runner: pictures in, pictures out, in batches and with progress."""

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
    """A loaded model and its card. Pictures are (n, h, w, 3) of 0 to 255 throughout."""

    card: Card
    module: nn.Module

    @property
    def device(self) -> torch.device:
        """Where it runs, its weights beside it or not."""
        if isinstance(self.module, TextToImageModel):
            return torch.device(self.module.pipeline._execution_device)
        return next(self.module.parameters()).device

    @property
    def revision(self) -> str:
        """What exactly was run: the first digits of the sha256 of its file, or of its files."""
        return revision(self.card, get_settings().weights_dir)

    @property
    def latent_dim(self) -> int:
        """The length of its z."""
        return int(self.card.architecture["latent_dim"])

    def inference(self) -> AbstractContextManager[Any]:
        """No gradients, and mixed precision where there are convolutions."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        if not self.card.architecture["name"].startswith("mlp-"):
            stack.enter_context(autocast(self.device))
        return stack

    def read(self, task: Task, images: Sequence[str]) -> Pixels:
        """The centre squares of a job's images as the model sees them."""
        architecture = self.card.architecture
        read = [task.read_image(image) for image in images]
        return center_squares(read, architecture["image_size"], architecture["channels"])

    def tensor(self, pictures: Pixels) -> Tensor:
        """Pictures as this model takes them: (n, channels, h, w) in [0, 1]."""
        return to_tensor(pictures, self.device)[:, : self.card.architecture["channels"]]

    def encode(self, pictures: Pixels) -> Tensor:
        """The z of each picture, (n, latent_dim)."""
        assert isinstance(self.module, Vae | Dcgan)
        with self.inference():
            return self.module.encode(self.tensor(pictures)).cpu()

    def decode(self, task: Task, z: Tensor) -> Pixels:
        """The picture of each z (n, latent_dim)."""
        made: list[Pixels] = []
        for part in z.split(BATCH):
            made.append(pixels(self.images(part)))
            task.report_progress(sum(map(len, made)), len(z), "decoding")
        return np.concatenate(made)

    def images(self, z: Tensor) -> Tensor:
        """The pictures of a batch of z as (n, channels, h, w) in [0, 1]."""
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
        """The picture of each starting noise (n, *shape) and of the attributes (n, k) it is told."""
        model, num_inference_steps, scheduler = self.module, params.num_inference_steps, params.scheduler
        assert isinstance(model, Ddpm) and num_inference_steps and scheduler
        starts = range(0, len(noise), BATCH)
        made = []
        for start in starts:

            def show(step: DenoisingStep, done: int = start // BATCH * num_inference_steps) -> None:
                on_step(step)
                total = len(starts) * num_inference_steps
                task.report_progress(
                    done + step.step, total, "denoising", lambda: sheet(pixels(model.decode(step.pred_original_sample)))
                )

            with self.inference():
                finished = sample(
                    model,
                    noise[start : start + BATCH].to(self.device),
                    None if attributes is None else attributes[start : start + BATCH].to(self.device),
                    scheduler=scheduler,
                    num_inference_steps=num_inference_steps,
                    guidance_scale=1.0 if params.guidance_scale is None else params.guidance_scale,
                    generators=generators[start : start + BATCH] if generators else None,
                    on_step=show,
                )
            made.append(pixels(finished))
        return np.concatenate(made)

    def answers(self, pictures: Pixels) -> list[list[str]]:
        """A classifier's answer to each of its questions about each picture."""
        assert isinstance(self.module, Classifier)
        with self.inference():
            found = self.module.answers(self.tensor(pictures)).tolist()
        return [[names[k] for names, k in zip(self.module.questions, row, strict=True)] for row in found]


def pixels(images: Tensor) -> Pixels:
    """Pictures (n, 1 or 3, h, w) in [0, 1] as (n, h, w, 3) of 0 to 255."""
    found = to_pixels(images)
    return found.repeat(3, axis=3) if found.shape[3] == 1 else found


def load_network(task: Task, model_id: str) -> Network:
    """A model by its id, loaded by the first job that asks for it; raises WeightsError."""
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
