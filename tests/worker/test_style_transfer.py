"""The runner with the real networks on real photographs, at a small size."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from jobs.errors import AtelierError
from jobs.settings import get_settings
from models.catalogue import card
from models.perceptual.losses import gram_matrix
from models.perceptual.vgg import load_vgg
from tests.stack import WEIGHTS
from worker.run import Made, Pixels, Task
from worker.runners import RUNNERS, style_transfer

IMAGES = {"img_" + "a" * 64: data.astronaut()[:, :400], "img_" + "b" * 64: data.coffee()}
PHOTO, STYLE = IMAGES
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")


def run(**params: Any) -> tuple[Made, list[str]]:
    messages: list[str] = []
    task = Task(
        {"seed": 1, "format": "png", "mode": "transfer", "content": PHOTO, "size": 128, **params},
        lambda step, total, message, picture=None: messages.append(message),
        IMAGES.__getitem__,
        card,
    )
    return RUNNERS["style-transfer"](task), messages


def style_distance(pixels: Pixels, style: Pixels) -> float:
    vgg = load_vgg("vgg16", weights_dir=WEIGHTS)

    def grams(image: Pixels) -> dict[str, torch.Tensor]:
        tensor = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()
        return {layer: gram_matrix(features) for layer, features in vgg(tensor, STYLE_LAYERS).items()}

    ours, theirs = grams(pixels), grams(style)
    return sum(float((ours[k] - theirs[k]).square().sum() / theirs[k].square().sum()) for k in ours)


def likeness(pixels: Pixels, photo: Pixels) -> float:
    """Correlation of the brightness of two pictures."""
    return float(np.corrcoef(pixels.mean(2).ravel(), photo.mean(2).ravel())[0, 1])


def photo() -> Pixels:
    return style_transfer.fit(IMAGES[PHOTO], 128)


def test_gatys_moves_the_style_and_keeps_the_content() -> None:
    made, messages = run(method="gatys", style=STYLE, model="vgg16", num_steps=40)
    picture, content, style = made.pictures[0].pixels, photo(), style_transfer.fit(IMAGES[STYLE], 128)
    before, after = style_distance(content, style), style_distance(picture, style)
    print(f"gatys: style distance {before:.3f} -> {after:.3f}, content correlation {likeness(picture, content):.2f}")
    assert picture.shape == (128, 100, 3)
    assert after < before / 4
    assert likeness(picture, content) > 0.5
    assert len(messages) == 40
    assert made.metrics["model"] == "vgg16" and math.isfinite(made.metrics["loss"])
    assert list(made.models) == ["vgg16"] and made.versions["torch"]


@pytest.mark.parametrize("style", ["image", "builtin", "blend"])
def test_fast_moves_the_picture_and_keeps_the_content(style: str) -> None:
    builtin = [{"image": "builtin:3", "weight": 1}, {"image": "builtin:19", "weight": 3}]
    given = {"image": STYLE, "builtin": "builtin:19", "blend": builtin}[style]
    made, _ = run(method="fast", style=given)
    picture, content = made.pictures[0].pixels, photo()
    moved = float(np.abs(picture.astype(int) - content).mean())
    print(f"fast, {style}: mean change {moved:.1f} of 255, content correlation {likeness(picture, content):.2f}")
    assert picture.shape == (128, 100, 3)
    assert moved > 15
    assert likeness(picture, content) > 0.4


def test_fast_with_an_image_comes_nearer_to_its_style() -> None:
    picture = run(method="fast", style=STYLE)[0].pictures[0].pixels
    style = style_transfer.fit(IMAGES[STYLE], 128)
    assert style_distance(picture, style) < style_distance(photo(), style)


def test_strength_zero_of_a_builtin_style_is_the_photo() -> None:
    picture = run(method="fast", style="builtin:7", strength=0)[0].pictures[0].pixels
    assert np.abs(picture.astype(int) - photo()).max() <= 1


FAST = {"method": "fast", "style": "builtin:4"}
NOISE = {"method": "gatys", "style": STYLE, "num_steps": 5, "init": "noise"}


@pytest.mark.parametrize("params", [FAST, NOISE])
def test_the_same_request_gives_the_same_picture(params: dict[str, Any]) -> None:
    first, second = run(**params)[0], run(**params)[0]
    assert np.array_equal(first.pictures[0].pixels, second.pictures[0].pixels)


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ATELIER_WEIGHTS_DIR", str(tmp_path))
    forget_models()
    with pytest.raises(AtelierError, match=r"python -m models\.fetch vgg16") as error:
        run(method="gatys", style=STYLE, model="vgg16", num_steps=1)
    assert error.value.code == "weights_unavailable"
    forget_models()


def forget_models() -> None:
    get_settings.cache_clear()
    style_transfer.once.cache_clear()
