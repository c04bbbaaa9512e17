"""Classifiers that evaluate generators: several questions about an image, answered from shared features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FEATURES = 64


class Classifier(nn.Module):
    """Maps images (n, channels, h, w) in [0, 1] to features (n, 64) and one answer to each question.

    questions: the possible answers to each question; mutually exclusive attributes are one question.
    """

    def __init__(self, channels: int, questions: Sequence[Sequence[str]], base_channels: int = 32) -> None:
        super().__init__()
        self.questions = [tuple(answers) for answers in questions]
        c = base_channels
        self.trunk = nn.Sequential(
            *_stage(channels, c, stride=2),
            *_stage(c, 2 * c, stride=2),
            *_stage(2 * c, 4 * c, stride=2),
            *_stage(4 * c, 4 * c, stride=1),
            *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * c, FEATURES), nn.BatchNorm1d(FEATURES)),
        )
        self.heads = nn.Linear(FEATURES, sum(len(answers) for answers in self.questions))

    def features(self, images: Tensor) -> Tensor:
        """Features (n, 64) from which the answers are predicted, and in which the Frechet distance is measured."""
        features: Tensor = self.trunk(images * 2 - 1).float()
        return features

    def logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of each question, (n, answers)."""
        scores: Tensor = self.heads(torch.relu(self.features(images)))
        parts: tuple[Tensor, ...] = scores.float().split([len(answers) for answers in self.questions], dim=1)
        return parts

    def answers(self, images: Tensor) -> Tensor:
        """Index of the most likely answer to each question, (n, questions)."""
        return torch.stack([logits.argmax(1) for logits in self.logits(images)], dim=1)


def _stage(before: int, after: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 5, stride, 2), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
