"""The judge of a named data set: the classifier trained on it, and images that it has not seen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.build import load_model
from models.catalogue import WEIGHTS_DIR, Card, cards
from models.data.dataset import Dataset, gray, in_gray
from models.data.named import Split, named_dataset
from models.generative.classifier import Classifier
from models.metrics import Features, answers, features
from models.pixels import ImageArray
from models.tensors import expect_class


@dataclass(frozen=True)
class Judge:
    """A data set's classifier, held-out images, their features, and the features of as many other images."""

    classifier: Classifier
    held_out: Dataset
    real: Features
    others: Features


def judge_of(data: str, n: int, weights_dir: Path = WEIGHTS_DIR) -> Judge:
    """Returns the judge of a named data set, with `n` images per side, or half of the test split if it is smaller."""
    card = cards()[f"classifier-{data}"]
    classifier = expect_class(load_model(card, weights_dir), Classifier)
    held_out, others = halves(data_of(card, 2 * n, "test"))
    return Judge(classifier, held_out, features(classifier, held_out.images), features(classifier, others.images))


def halves(test: Dataset) -> tuple[Dataset, Dataset]:
    """The held-out images of a judge and the others, shuffled: digits come in the order 0 to 9, writer after writer."""
    order = np.random.default_rng(0).permutation(len(test))
    return test.where(order[: len(test) // 2]), test.where(order[len(test) // 2 :])


def data_of(card: Card, limit: int, split: Split = "train") -> Dataset:
    """Images of the data that a model was trained on, in its channels."""
    dataset = named_dataset(card.source["data"], split, limit)
    return in_gray(dataset) if card.architecture.get("channels") == 1 else dataset


def judge_names(judge: Judge) -> tuple[str, ...]:
    """What the judge detects: attributes, or the names of the labels of a classifier with one question."""
    return judge.held_out.attribute_names if len(judge.classifier.questions) > 1 else judge.held_out.label_names


def present(judge: Judge, images: ImageArray) -> NDArray[np.bool_]:
    """Whether the judge detects each of `judge_names` in images (n, h, w, channels), in gray if it takes gray ones."""
    found = answers(judge.classifier, like(judge, images))
    detected: NDArray[np.bool_] = (
        found == 1 if len(judge.classifier.questions) > 1 else found == np.arange(len(judge_names(judge)))
    )
    return detected


def like(judge: Judge, images: ImageArray) -> ImageArray:
    """Images (n, h, w, channels) in the channels that the judge takes."""
    return gray(images) if judge.held_out.images.shape[-1] == 1 else images
