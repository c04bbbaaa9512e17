"""Trains the network of one style: `python -m models.training.style --data photos --style strokes.jpg --id mine`.

Johnson, Alahi and Fei-Fei 2016, "Perceptual losses for real-time style transfer and super-resolution". Departures: the
initial weights are those of `fast-multistyle` in the built-in style nearest to the painting, which saves most of the
training, and the losses are the relative ones of `models.stylize.gatys`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.catalogue import WEIGHTS_DIR, card, checked_file
from models.data.dataset import Dataset
from models.onnx_file import initializers
from models.perceptual.vgg import VGG, load_vgg
from models.stylize.fast import BUILTIN_STYLES, MULTISTYLE
from models.stylize.feed_forward import Array, StyleNet, of_builtin, style_net
from models.stylize.gatys import perceptual_loss
from models.stylize.minimize import resized
from models.tensors import on_device, to_tensor
from models.training.recipe import Recipe, Trained, command, initial_model
from models.training.run import Run, Schedule

LossOf = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
SHOWN = 4  # images of a sample grid
COMPARED_SIDE = 64  # of the photo on which the built-in styles are compared with the painting
ARCHITECTURE = {"name": "style-net", "channels": 3}


@dataclass(frozen=True)
class StyleSettings:
    """Hyperparameters of a network of one style."""

    style: str = field(default="", metadata={"help": "the file of the painting"})
    style_size: int = field(default=512, metadata={"help": "longer side of the painting in pixels: its strokes' scale"})
    content_weight: float = field(default=1.0, metadata={"help": "weight of the content loss"})
    style_weight: float = field(default=20.0, metadata={"help": "weight of the style loss"})
    tv_weight: float = field(default=10.0, metadata={"help": "weight of the total variation"})
    learning_rate: float = field(default=2e-3, metadata={"help": "of Adam, falling to 0 along a cosine"})


@dataclass(frozen=True)
class Painting:
    """What a training needs beside photos: the painting (h, w, 3), the VGG, and the weights of `fast-multistyle`."""

    image: Array
    vgg: VGG
    builtin: dict[str, Array]


def read_painting(path: Path, weights_dir: Path = WEIGHTS_DIR) -> Painting:
    """Reads a painting from a file, and the networks; raises WeightsError."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    return Painting(pixels, load_vgg("vgg16", weights_dir), builtin_weights(weights_dir))


def builtin_weights(weights_dir: Path) -> dict[str, Array]:
    """The weights of `fast-multistyle`; raises WeightsError."""
    return initializers(checked_file(card("fast-multistyle"), MULTISTYLE, weights_dir).read_bytes())


def train_style(dataset: Dataset, settings: StyleSettings, run: Run, painting: Painting | None = None) -> Trained:
    """Minimizes the objective of `models.stylize.gatys.transfer` over photos, by the weights of the network."""
    painting = painting or read_painting(Path(settings.style))
    pixels = dataset.images.repeat(4 - dataset.images.shape[3], axis=3)[..., :3]  # gray ones in three channels
    images = torch.from_numpy(pixels)
    style = torch.from_numpy(painting.image).permute(2, 0, 1)[None].to(run.device)
    loss_of = perceptual_loss(
        painting.vgg.to(run.device),
        style,
        settings.style_size,
        content_weight=settings.content_weight,
        style_weight=settings.style_weight,
        tv_weight=settings.tv_weight,
    )
    shown = to_tensor(pixels[:: max(1, len(pixels) // SHOWN)][:SHOWN], run.device)
    model = initial_model(StyleNet, ARCHITECTURE, run)
    if run.start is None:
        model.load_state_dict(nearest_builtin(painting.builtin, loss_of, shown[:1]))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)

    def sample() -> Tensor:
        with torch.inference_mode():
            images: Tensor = model(shown)
            return images

    for _ in run.steps(sample, model=model, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        (photos,) = run.batch(images)
        contents = varied(to_tensor(photos.numpy(), run.device))
        loss, parts = loss_of(contents, model(contents))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(content_loss=parts["content_loss"], style_loss=parts["style_loss"])
    return Trained(ARCHITECTURE, model.state_dict())


def nearest_builtin(builtin: dict[str, Array], loss_of: LossOf, contents: Tensor) -> dict[str, Tensor]:
    """The state of the network in the built-in style with the smallest loss on `contents` (n, 3, h, w), made small."""
    model = on_device(style_net(), contents.device)
    contents = resized(contents, (COMPARED_SIDE, COMPARED_SIDE))

    def loss(number: int) -> float:
        model.load_state_dict(of_builtin(builtin, number))
        with torch.inference_mode():
            return float(loss_of(contents, model(contents))[0])

    return of_builtin(builtin, min(range(BUILTIN_STYLES), key=loss))


def varied(contents: Tensor) -> Tensor:
    """Photos (n, 3, h, w), half of them mirrored, each with another exposure and white balance."""
    n = len(contents)
    mirrored = torch.where(torch.rand(n, 1, 1, 1) < 0.5, contents.cpu().flip(3), contents.cpu()).to(contents.device)
    gamma = (0.3 * torch.randn(n, 1, 1, 1)).exp().to(contents.device)
    gains = (0.1 * torch.randn(n, 3, 1, 1)).exp().to(contents.device)
    return (gains * mirrored**gamma).clamp(0, 1)


RECIPE = Recipe(
    name="style",
    task="style-transfer",
    title="Network of one style",
    settings=StyleSettings,
    schedule=Schedule(num_steps=400, batch_size=4, sample_every=100, checkpoint_every=50),
    train=train_style,
    image_size=256,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
