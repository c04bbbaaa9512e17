from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.perceptual.losses import gram_matrix, style_loss
from models.perceptual.vgg import VGG, load_vgg
from models.stylize.gatys import STYLE_LAYERS, DivergedError, Step, Transfer, levels, transfer

Photo = Callable[[str, int], Tensor]


@pytest.fixture(scope="module")
def content(tensor_photo: Photo) -> Tensor:
    return tensor_photo("astronaut", 96)


@pytest.fixture(scope="module")
def style(tensor_photo: Photo) -> Tensor:
    return tensor_photo("coffee", 96)


@pytest.fixture(scope="module")
def painted(vgg16: VGG, content: Tensor, style: Tensor) -> Transfer:
    return transfer(vgg16, content, [(style, 1.0)], num_steps=30)


def style_distance(vgg: VGG, image: Tensor, style: Tensor) -> float:
    """Of a picture from a style that is brought to the same size."""
    scale = max(image.shape[2:]) / max(style.shape[2:])
    resized = torch.nn.functional.interpolate(style, scale_factor=scale, mode="bicubic", antialias=True)
    grams = {layer: gram_matrix(features) for layer, features in vgg(resized, STYLE_LAYERS).items()}
    return style_loss(vgg(image, STYLE_LAYERS), grams).item()


def correlation(a: Tensor, b: Tensor) -> float:
    return float(np.corrcoef(a.float().flatten().numpy(), b.float().flatten().numpy())[0, 1])


def test_the_style_comes_and_the_content_stays(vgg16: VGG, painted: Transfer, content: Tensor, style: Tensor) -> None:
    before, after = style_distance(vgg16, content, style), style_distance(vgg16, painted.image, style)
    features = [vgg16(image, ("relu4_2",))["relu4_2"] for image in (painted.image, content)]
    luminance = correlation(painted.image.mean(1), content.mean(1))
    print(f"style {before:.3f} -> {after:.4f}, features {correlation(*features):.2f}, luminance {luminance:.2f}")
    assert after < before / 5
    assert correlation(*features) > 0.4
    assert luminance > 0.4


def test_the_result_is_a_picture_of_the_size_of_its_content(tensor_photo: Photo, vgg16: VGG, style: Tensor) -> None:
    content = tensor_photo("chelsea", 100)
    image = transfer(vgg16, content, [(style, 1.0)], num_steps=2).image
    assert image.shape == content.shape
    assert not image.requires_grad
    assert 0 <= image.min() <= image.max() <= 1


def test_the_same_arguments_give_the_same_result(vgg16: VGG, painted: Transfer, content: Tensor, style: Tensor) -> None:
    again = transfer(vgg16, content, [(style, 1.0)], num_steps=30)
    assert torch.equal(again.image, painted.image)
    assert again.loss == painted.loss


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_every_optimiser_lowers_the_loss(vgg16: VGG, content: Tensor, style: Tensor, optimizer: Any) -> None:
    seen: list[float] = []
    transfer(
        vgg16, content, [(style, 1.0)], num_steps=8, optimizer=optimizer, on_step=lambda step: seen.append(step.loss)
    )
    assert seen[-1] < 0.7 * seen[0]


def test_the_start_decides_and_the_seed_only_for_noise(vgg16: VGG, content: Tensor, style: Tensor) -> None:
    def run(**kwargs: Any) -> Tensor:
        return transfer(vgg16, content[..., :64, :48], [(style, 1.0)], num_steps=1, **kwargs).image

    assert torch.equal(run(seed=1), run(seed=2))
    assert torch.equal(run(init="noise", seed=1), run(init="noise", seed=1))
    assert not torch.equal(run(init="noise", seed=1), run(init="noise", seed=2))
    assert correlation(run(init="style"), run(init="content")) < 0.5


def test_the_callback_sees_every_step(tensor_photo: Photo, vgg16: VGG, style: Tensor) -> None:
    content, seen = tensor_photo("chelsea", 400), []

    def on_step(step: Step) -> None:
        image = step.image()
        assert 0 <= image.min() <= image.max() <= 1
        seen.append((step.step, step.total, tuple(image.shape[2:])))

    transfer(vgg16, content, [(style, 1.0)], num_steps=3, on_step=on_step)
    height, width = content.shape[2:]
    coarse = (round(height / 2), round(width / 2))
    assert seen == [(1, 3, coarse), (2, 3, (height, width)), (3, 3, (height, width))]


def test_the_callback_can_stop_it(vgg16: VGG, content: Tensor, style: Tensor) -> None:
    steps = []

    def on_step(step: Step) -> None:
        steps.append(step.step)
        if step.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(vgg16, content, [(style, 1.0)], num_steps=50, on_step=on_step)
    assert steps == [1, 2]


def test_losses_add_up(vgg16: VGG, content: Tensor, style: Tensor) -> None:
    seen: list[Step] = []
    transfer(
        vgg16,
        content,
        [(style, 1.0)],
        num_steps=2,
        content_weight=2.0,
        style_weight=30.0,
        tv_weight=5.0,
        on_step=seen.append,
    )
    for step in seen:
        assert step.loss == pytest.approx(2 * step.content_loss + 30 * step.style_loss + 5 * step.tv_loss, rel=1e-5)
    assert seen[0].content_loss == 0


def test_shares_are_relative_and_one_style_may_be_split(vgg16: VGG, content: Tensor, style: Tensor) -> None:
    def run(*shares: float) -> Tensor:
        return transfer(vgg16, content, [(style, share) for share in shares], num_steps=2).image

    assert torch.equal(run(1.0), run(7.0))
    torch.testing.assert_close(run(1.0), run(1.0, 3.0), rtol=0, atol=1e-2)


def test_of_two_styles_the_larger_share_is_nearer(
    tensor_photo: Photo, vgg16: VGG, content: Tensor, style: Tensor
) -> None:
    other = tensor_photo("hubble_deep_field", 96)

    def ratio(share: float) -> float:
        image = transfer(vgg16, content, [(style, share), (other, 1 - share)], num_steps=8).image
        return style_distance(vgg16, image, style) / style_distance(vgg16, image, other)

    assert ratio(0.9) < 0.5 * ratio(0.1)


def test_bfloat16_ends_near_float32(weights_dir: Path, content: Tensor, style: Tensor) -> None:
    """The first loss shows the rounding alone; after that the paths part, and end between -2 and +4 % apart."""
    seen: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for dtype, losses in seen.items():
        vgg = load_vgg("vgg16", weights_dir, dtype=dtype)
        steps: list[Step] = []
        transfer(vgg, content, [(style, 1.0)], num_steps=60, on_step=steps.append)
        losses.extend(step.loss for step in steps)
    exact, rounded = seen.values()
    print(f"float32 {exact[0]:.3f} -> {exact[-1]:.3f}, bfloat16 {rounded[0]:.3f} -> {rounded[-1]:.3f}")
    assert rounded[0] == pytest.approx(exact[0], rel=0.01)
    assert rounded[-1] == pytest.approx(exact[-1], rel=0.1)


def test_a_diverging_run_says_so(vgg16: VGG, content: Tensor, style: Tensor) -> None:
    with pytest.raises(DivergedError, match="at step 1"):
        transfer(vgg16, content, [(style, 1.0)], num_steps=3, style_weight=float("inf"))


@pytest.mark.parametrize(
    "size, num_steps, expected",
    [
        ((512, 340), 200, [((256, 170), 100), ((512, 340), 100)]),
        ((1024, 1024), 200, [((256, 256), 66), ((512, 512), 66), ((1024, 1024), 68)]),
        ((383, 383), 9, [((383, 383), 9)]),
        ((1024, 1024), 1, [((1024, 1024), 1)]),
        ((1024, 20), 10, [((1024, 20), 10)]),
    ],
)
def test_levels(size: tuple[int, int], num_steps: int, expected: list[tuple[tuple[int, int], int]]) -> None:
    assert levels(size, num_steps) == expected


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a: a | {"content": torch.rand(3, 32, 32)}, r"content must be \(1, 3, h, w\)"),
        (lambda a: a | {"content": torch.rand(1, 3, 32, 15)}, "sides of at least 16"),
        (lambda a: a | {"styles": []}, "styles must be"),
        (lambda a: a | {"styles": [(torch.rand(1, 3, 32, 32), 0.0)]}, "share above 0"),
        (lambda a: a | {"num_steps": 0}, "num_steps must be at least 1, not 0"),
        (lambda a: a | {"optimizer": "sgd"}, "not 'sgd'"),
        (lambda a: a | {"init": "zeros"}, "not 'zeros'"),
        (lambda a: a | {"style_layers": ["relu9_1"]}, "relu9_1"),
    ],
)
def test_a_wrong_argument_is_named(vgg16: VGG, change: Callable[[dict[str, Any]], dict[str, Any]], words: str) -> None:
    arguments = change({"content": torch.rand(1, 3, 32, 32), "styles": [(torch.rand(1, 3, 32, 32), 1.0)]})
    with pytest.raises(ValueError, match=words):
        transfer(vgg16, **arguments)
