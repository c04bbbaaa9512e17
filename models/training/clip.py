"""Trains a CLIP on captioned images: `python -m models.training.clip --data avatars --id clip-avatars`."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from models.clip import Clip, learn_merges
from models.data.dataset import Dataset
from models.errors import DataError
from models.tensors import autocast
from models.training.recipe import Recipe, Trained, command, initial_model, part_of
from models.training.run import Run, Schedule

BATCH = 256
MAX_SCALE = 100.0  # Radford et al. 2021, section 2.5: a larger one makes training unstable


@dataclass(frozen=True)
class ClipSettings:
    """Hyperparameters of a CLIP."""

    base_channels: int = field(default=32, metadata={"help": "of the image tower's first layer"})
    hidden_size: int = field(default=128, metadata={"help": "width of the text tower, a multiple of 32"})
    text_layers: int = field(default=2, metadata={"help": "of the text tower"})
    projection_dim: int = field(default=128, metadata={"help": "values of an embedding"})
    context_length: int = field(default=32, metadata={"help": "tokens of a text that are read"})
    n_merges: int = field(default=110, metadata={"help": "tokens learned from the captions, beside the bytes"})
    learning_rate: float = field(default=2e-3, metadata={"help": "of AdamW, falling to 0 along a cosine"})
    weight_decay: float = field(default=0.1, metadata={"help": "of AdamW"})
    alike: int = field(default=16, metadata={"help": "images of similar colors in a group of a batch"})
    word_weight: float = field(default=10.0, metadata={"help": "weight of the loss of predicting a caption's words"})
    noise: float = field(default=0.03, metadata={"help": "standard deviation of the noise added to images"})


def contrastive_loss(image_embeds: Tensor, text_embeds: Tensor, scale: Tensor, kinds: Tensor) -> Tensor:
    """Symmetric contrastive cross-entropy (Radford et al. 2021, figure 3), a scalar.

    Here all rows of the same kind (n,) are positives, with equal weights: a caption names few attributes, so that a
    batch has it several times, and an image must not be pushed away from its own caption.
    """
    logits = scale * F.normalize(image_embeds) @ F.normalize(text_embeds).T  # (images, texts)
    same = (kinds[:, None] == kinds[None]).float()
    shares = same / same.sum(1)
    return (F.cross_entropy(logits, shares) + F.cross_entropy(logits.T, shares)) / 2


def augmented(images: Tensor, noise: float) -> Tensor:
    """Augments images (n, 3, h, w): random mirroring, a shift by up to two pixels, and noise."""
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    shift = torch.randint(-2, 3, (2,)).tolist()
    images = torch.where(mirrored, images.flip(3), images).roll(shift, dims=(2, 3))
    return images + noise * torch.randn_like(images)


def most_alike(images: Tensor, n: int) -> Tensor:
    """Indices (m, n) of the `n` images most similar to each of (m, 3, h, w) in 4 x 4 pixels, itself first."""
    parts = images.split(BATCH)  # 20,000 images of 128 px are 4 GB as floats
    colors = torch.cat([F.adaptive_avg_pool2d(part.float(), 4).flatten(1) for part in parts]).cpu().numpy()
    n = min(n, len(colors))
    return torch.from_numpy(NearestNeighbors(n_neighbors=n).fit(colors).kneighbors(colors, return_distance=False))


def alike_rows(neighbors: Tensor, batch_size: int, alike: int) -> Tensor:
    """Draws indices (batch_size,): random images, each with `alike` - 1 of its neighbors (m, n).

    In a batch of random images, colors alone identify nearly every image, so that glasses or a smile are never learned
    (Robinson et al. 2021, "Contrastive learning with hard negative samples").
    """
    anchors = torch.randint(len(neighbors), (-(-batch_size // alike), 1))
    drawn = torch.rand(len(anchors), neighbors.shape[1]).argsort(1)[:, :alike]
    return neighbors[anchors, drawn].flatten()[:batch_size]


def words_of(token_ids: Tensor) -> Tensor:
    """Whether each caption (m, length) has each token that not all captions have: 0 or 1, (m, tokens)."""
    has = torch.zeros(len(token_ids), int(token_ids.max()) + 1).scatter_(1, token_ids, 1.0)
    return has[:, (has.mean(0) > 0) & (has.mean(0) < 1)]


def train_clip(dataset: Dataset, settings: ClipSettings, run: Run) -> Trained:
    """Trains with a contrastive loss of images and captions; raises DataError without captions.

    In addition, a linear layer predicts the words of the caption from image_embeds (Joulin et al. 2016,
    "Learning visual features from large weakly supervised data"): with 20,000 images the contrastive loss
    alone learns colors in minutes and glasses in hours.
    """
    if not dataset.captions:
        raise DataError("a CLIP needs captions")
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    architecture = {
        "name": "clip",
        "image_size": images.shape[-1],
        "base_channels": settings.base_channels,
        "hidden_size": settings.hidden_size,
        "text_layers": settings.text_layers,
        "projection_dim": settings.projection_dim,
        "context_length": settings.context_length,
        "merges": _merges(dataset, settings, run),
    }
    torch.manual_seed(run.schedule.seed)
    model = initial_model(Clip, architecture, run, part="clip")
    captions, kinds_of = np.unique(dataset.captions, return_inverse=True)
    token_ids, kinds = model.tokenize(captions.tolist()).to(run.device), torch.from_numpy(kinds_of).to(run.device)
    words = words_of(token_ids.cpu()).to(run.device)
    word_classifier = torch.nn.Linear(settings.projection_dim, words.shape[1]).to(run.device)
    neighbors = most_alike(images, 4 * settings.alike)
    log_scale = model.model.logit_scale
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *word_classifier.parameters()],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
    )
    for _ in run.steps(lambda: images[:64].float() / 255, model=model, teller=word_classifier, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        rows = alike_rows(neighbors, run.schedule.batch_size, settings.alike).to(run.device)
        real, kind = images[rows], kinds[rows]
        with autocast(run.device):
            image_embeds = model.encode_images(augmented(real.float() / 255, settings.noise))
            text_embeds = model.encode_texts(token_ids[kind])
        contrastive = contrastive_loss(image_embeds, text_embeds, log_scale.exp(), kind)
        word_loss = F.binary_cross_entropy_with_logits(word_classifier(image_embeds), words[kind])
        loss = contrastive + settings.word_weight * word_loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *word_classifier.parameters()], 1.0)
        optimizer.step()
        with torch.no_grad():
            log_scale.clamp_(max=math.log(MAX_SCALE))
            nearest = (F.normalize(image_embeds) @ F.normalize(text_embeds).T).argmax(1)
        run.log(contrastive_loss=contrastive, word_loss=word_loss, error_rate=(kind[nearest] != kind).float().mean())
    return Trained(architecture, model.state_dict())


def _merges(dataset: Dataset, settings: ClipSettings, run: Run) -> list[str]:
    """Returns the start's merges, whose tokens it knows, or those of the captions."""
    if run.start:
        return list(part_of(run.start, "clip")[1].architecture.get("merges", ()))
    return learn_merges(dataset.captions, settings.n_merges)


RECIPE = Recipe(
    name="clip",
    task="embedding",
    title="CLIP",
    settings=ClipSettings,
    schedule=Schedule(num_steps=800, batch_size=128, sample_every=1000),
    train=train_clip,
    captions=True,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
