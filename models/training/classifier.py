"""Trains a data set's classifier: `python -m models.training.classifier --data avatars --id classifier-avatars`."""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from models.data.dataset import Dataset
from models.errors import DataError
from models.generative.classifier import Classifier
from models.tensors import autocast
from models.training.recipe import Recipe, Trained, command, initial_model
from models.training.run import Run, Schedule


@dataclass(frozen=True)
class ClassifierSettings:
    """Hyperparameters of a classifier."""

    learning_rate: float = field(default=2e-3, metadata={"help": "of AdamW, falling to 0 along a cosine"})
    weight_decay: float = field(default=0.01, metadata={"help": "of AdamW"})
    noise: float = field(
        default=0.05, metadata={"help": "maximum standard deviation of the added noise, as a share of the range"}
    )
    base_channels: int = field(default=32, metadata={"help": "of the first layer"})


def questions_of(dataset: Dataset) -> list[list[str]]:
    """Returns one question about the label, or one about each attribute; raises DataError without either."""
    if len(dataset.label_names) > 1:
        return [list(dataset.label_names)]
    if not dataset.attribute_names:
        raise DataError(f"a classifier needs labels or attributes{_instead(dataset)}")
    return [[f"no {name}", name] for name in dataset.attribute_names]


def _instead(dataset: Dataset) -> str:
    """Describes what a data set has instead of labels, for messages."""
    only = [f"all images have the label {dataset.label_names[0]!r}"] if dataset.label_names else []
    captions = [f"captions such as {dataset.captions[0][:80]!r} are not labels"] if any(dataset.captions) else []
    about = ("columns_not_used", "folders_not_used")
    reasons = [each["message"] for each in dataset.report.warnings if each["code"] in about]
    return "".join(f"; {reason.rstrip('.')}" for reason in (*only, *captions, *reasons))


def answers_of(dataset: Dataset) -> NDArray[np.int64]:
    """Correct answers (n, questions), as indices."""
    return dataset.labels[:, None] if len(dataset.label_names) > 1 else dataset.attributes.astype(np.int64)


def train_classifier(dataset: Dataset, settings: ClassifierSettings, run: Run) -> Trained:
    """Trains with cross-entropy, summed over the questions, on images shifted by up to two pixels and with noise."""
    questions = questions_of(dataset)
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(run.device)
    truth = torch.from_numpy(answers_of(dataset)).to(run.device)
    architecture = {
        "name": "classifier",
        "channels": images.shape[1],
        "questions": questions,
        "base_channels": settings.base_channels,
    }
    torch.manual_seed(run.schedule.seed)
    model = initial_model(Classifier, architecture, run)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    for _ in run.steps(lambda: images[:64].float() / 255, model=model, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        real, wanted = run.batch(images, truth)
        real = real.float() / 255
        # Generated images may be slightly noisy or soft, and must be classified as reliably as clean ones.
        shift = torch.randint(-2, 3, (2,)).tolist()
        real = torch.roll(real, shift, dims=(2, 3)) + torch.rand(()) * settings.noise * torch.randn_like(real)
        with autocast(run.device):
            logits = model.logits(real)
        loss = torch.stack([F.cross_entropy(part, wanted[:, i]) for i, part in enumerate(logits)]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = torch.stack([(part.argmax(1) == wanted[:, i]).float().mean() for i, part in enumerate(logits)]).mean()
        run.log(cross_entropy=loss, error_rate=1 - right)
    return Trained(architecture, model.state_dict())


RECIPE = Recipe(
    name="classifier",
    task="classification",
    title="Classifier",
    settings=ClassifierSettings,
    schedule=Schedule(num_steps=3000, batch_size=64, sample_every=1000),
    train=train_classifier,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
