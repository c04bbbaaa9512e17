"""The runner with the real networks on real photographs, at a small size."""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from skimage import data

from jobs.errors import AtelierError
from jobs.requests.kinds import parse
from jobs.settings import get_settings
from models.catalogue import card
from models.perceptual.losses import gram_matrix, positions
from models.perceptual.vgg import load_vgg
from tests.stack import WEIGHTS
from tests.worker.tasks import run_alone
from worker.failures import failures
from worker.run import JobResult, Pixels, Task
from worker.runners import loaded
from worker.runners.images import fit

IMAGES = {"img_" + "a" * 64: data.astronaut()[:, :400], "img_" + "b" * 64: data.coffee()}
PHOTO, STYLE = IMAGES
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")


def task_of(params: dict[str, Any], messages: list[str] | None = None) -> Task:
    """A task with the photo; its progress messages are appended to a list."""
    reported = [] if messages is None else messages
    return Task(
        parse("style-transfer", {"seed": 1, "mode": "transfer", "content": PHOTO, "size": 128, **params}),
        lambda step, total, message, image=None: reported.append(message),
        IMAGES.__getitem__,
        card,
        cast(Any, None),
    )


def run(**params: Any) -> tuple[JobResult, list[str]]:
    messages: list[str] = []
    with failures():
        return run_alone(task_of(params, messages)), messages


def style_distance(pixels: Pixels, style: Pixels) -> float:
    vgg = load_vgg("vgg16", weights_dir=WEIGHTS)

    def grams(image: Pixels) -> dict[str, torch.Tensor]:
        tensor = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()
        return {layer: gram_matrix(positions(features)) for layer, features in vgg(tensor, STYLE_LAYERS).items()}

    ours, theirs = grams(pixels), grams(style)
    return sum(float((ours[k] - theirs[k]).square().sum() / theirs[k].square().sum()) for k in ours)


def likeness(pixels: Pixels, photo: Pixels) -> float:
    """Correlation of the brightness of two images."""
    return float(np.corrcoef(pixels.mean(2).ravel(), photo.mean(2).ravel())[0, 1])


def photo() -> Pixels:
    return fit(IMAGES[PHOTO], 128)


def test_gatys_transfers_the_style_and_keeps_the_content() -> None:
    made, messages = run(method="gatys", style=STYLE, model="vgg16", num_steps=40)
    image, content, style = made.images[0].pixels, photo(), fit(IMAGES[STYLE], 128)
    before, after = style_distance(content, style), style_distance(image, style)
    print(f"gatys: style distance {before:.3f} -> {after:.3f}, content correlation {likeness(image, content):.2f}")
    assert image.shape == (128, 100, 3)
    assert after < before / 4
    assert likeness(image, content) > 0.5
    assert len(messages) == 40
    assert made.metrics["model"] == "vgg16" and math.isfinite(made.metrics["loss"])
    assert list(made.models) == ["vgg16"] and made.versions["torch"]


@pytest.mark.parametrize("style", ["image", "builtin", "blend", "both sorts"])
def test_fast_transfers_the_style_and_keeps_the_content(style: str) -> None:
    builtin = [{"image": "builtin:3", "weight": 1}, {"image": "builtin:19", "weight": 3}]
    both = [{"image": "builtin:19", "weight": 1}, {"image": STYLE, "weight": 3}]
    given = {"image": STYLE, "builtin": "builtin:19", "blend": builtin, "both sorts": both}[style]
    made, _ = run(method="fast", style=given)
    image, content = made.images[0].pixels, photo()
    moved = float(np.abs(image.astype(int) - content).mean())
    print(f"fast, {style}: mean change {moved:.1f} of 255, content correlation {likeness(image, content):.2f}")
    assert image.shape == (128, 100, 3)
    assert moved > 15
    assert likeness(image, content) > 0.4


def test_fast_with_an_image_lowers_the_style_distance() -> None:
    image = run(method="fast", style=STYLE)[0].images[0].pixels
    style = fit(IMAGES[STYLE], 128)
    assert style_distance(image, style) < style_distance(photo(), style)


def test_builtin_and_image_styles_are_averaged_by_weight() -> None:
    """Each kind has its own network; the weights of one kind add up."""

    def painted(*styles: tuple[str, float]) -> np.ndarray[Any, Any]:
        style = [{"image": name, "weight": weight} for name, weight in styles]
        made, _ = run(method="fast", style=style)
        assert set(made.models) <= {"fast-multistyle", "fast-arbitrary"}
        return made.images[0].pixels.astype(float)

    builtin, image = painted(("builtin:19", 1)), painted((STYLE, 1))
    mixed = painted(("builtin:19", 0.5), (STYLE, 3), ("builtin:starry-blue", 0.5))
    # Each of the three images is rounded to a level: half a level each, weighted, and half for the result.
    np.testing.assert_allclose(mixed, builtin / 4 + image * 3 / 4, atol=1.01)


def test_strength_zero_of_a_builtin_style_is_the_photo() -> None:
    image = run(method="fast", style="builtin:7", strength=0)[0].images[0].pixels
    assert np.abs(image.astype(int) - photo()).max() <= 1


FAST = {"method": "fast", "style": "builtin:4"}
NOISE = {"method": "gatys", "style": STYLE, "num_steps": 5, "init": "noise"}


@pytest.mark.parametrize("params", [FAST, NOISE])
def test_the_same_request_gives_the_same_image(params: dict[str, Any]) -> None:
    first, second = run(**params)[0], run(**params)[0]
    assert np.array_equal(first.images[0].pixels, second.images[0].pixels)


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ATELIER_WEIGHTS_DIR", str(tmp_path))
    forget_models()
    with pytest.raises(AtelierError, match=r"python -m models\.fetch vgg16") as error:
        run(method="gatys", style=STYLE, model="vgg16", num_steps=1)
    assert error.value.code == "weights_unavailable"
    forget_models()


def forget_models() -> None:
    get_settings.cache_clear()
    loaded.evict_all()


def optimized(**params: Any) -> tuple[JobResult, list[str]]:
    """Runs a request of another mode, without the defaults of a transfer."""
    messages: list[str] = []
    task = Task(
        parse("style-transfer", {"seed": 1, "model": "vgg16", **params}),
        lambda step, total, message, image=None: messages.append(message),
        IMAGES.__getitem__,
        card,
        cast(Any, None),
    )
    return run_alone(task), messages


def test_a_texture_ladder_has_an_image_for_each_depth_and_a_grid() -> None:
    layers = ["relu2_1", "relu1_1"]
    made, messages = optimized(
        mode="texture",
        style=STYLE,
        width=96,
        height=64,
        style_layers=layers,
        ladder=True,
        num_steps=30,
        loss_curve=True,
    )
    assert [image.role for image in made.images] == ["picture", "picture", "grid", "plot"]
    assert made.images[0].pixels.shape == (64, 96, 3)
    assert list(made.metrics["by_layer"]) == ["relu1_1", "relu2_1"]
    assert all(figures["style_loss"] < 0.5 for figures in made.metrics["by_layer"].values())
    assert len(messages) == 60 and messages[-1].startswith("relu2_1: loss ")


def test_the_losses_of_one_texture_are_in_the_metrics() -> None:
    made, _ = optimized(mode="texture", style=STYLE, width=64, height=64, style_layers=["relu1_1"], num_steps=5)
    assert [image.role for image in made.images] == ["picture"]
    assert made.metrics["steps"] == 5 and made.metrics["style_loss"] > 0


def test_an_inversion_ladder_has_the_error_of_each_layer() -> None:
    made, _ = optimized(
        mode="inversion", content=PHOTO, size=96, layers=["relu3_1", "relu1_1"], num_steps=40, tolerance=0.0
    )
    assert [image.role for image in made.images] == ["picture", "picture", "grid"]
    by_layer = made.metrics["by_layer"]
    assert list(by_layer) == ["relu1_1", "relu3_1"]
    assert by_layer["relu1_1"]["psnr"] > 30 > by_layer["relu3_1"]["psnr"]
    assert by_layer["relu1_1"]["content_loss"] < by_layer["relu3_1"]["content_loss"] < 0.2


def test_masks_sheet_and_curve_of_a_transfer() -> None:
    left = np.zeros_like(IMAGES[PHOTO])
    left[:, :200] = 255
    IMAGES["img_" + "c" * 64] = left
    style = [{"image": STYLE, "mask": "img_" + "c" * 64}]
    made, _ = run(method="gatys", style=style, num_steps=10, before_after=True, loss_curve=True)
    image, sheet, plot = made.images
    assert [sheet.role, plot.role] == ["grid", "plot"]
    changed = np.abs(image.pixels.astype(int) - photo()).mean(2)
    assert changed[:, 55:].max() <= 1 < 5 < changed[:, :45].mean()


@pytest.mark.parametrize("preserve_color", ["luminance", "histogram"])
@pytest.mark.parametrize("method", ["fast", "gatys"])
def test_colors_are_preserved(method: str, preserve_color: str) -> None:
    def moved(made: JobResult) -> float:
        """The distance of the mean color from the content's."""
        return float(np.abs(made.images[0].pixels.mean((0, 1)) - photo().mean((0, 1))).max())

    steps = {} if method == "fast" else {"num_steps": 15}
    plain, kept = (run(method=method, style=STYLE, preserve_color=how, **steps)[0] for how in ("none", preserve_color))
    print(f"{method}, {preserve_color}: mean color moved {moved(plain):.0f} plain, {moved(kept):.0f} preserved")
    chroma = [x.images[0].pixels.astype(float) - x.images[0].pixels.mean(2, keepdims=True) for x in (plain, kept)]
    own = photo() - photo().mean(2, keepdims=True)
    apart = [np.abs(c.mean((0, 1)) - own.mean((0, 1))).max() for c in chroma]
    assert apart[1] < 0.5 * apart[0]


def test_a_transfer_from_a_fast_image_starts_with_a_lower_loss() -> None:
    """The loss is lower at the first step, and ten steps later at most a tenth higher, by the rounding of a machine."""

    def curve(**more: Any) -> list[float]:
        _, messages = run(method="gatys", style=STYLE, tolerance=0.0, **more)
        return [float(message.removeprefix("loss ")) for message in messages]

    plain, begun = curve(num_steps=10), curve(num_steps=10, init="fast")
    print(f"loss from the content {plain[0]:.0f} -> {plain[-1]:.2f}, from fast {begun[0]:.0f} -> {begun[-1]:.2f}")
    assert begun[0] < 0.8 * plain[0]
    assert begun[-1] < 1.1 * plain[-1]


def test_a_transfer_starts_from_an_uploaded_image() -> None:
    made, _ = run(method="gatys", style=STYLE, num_steps=1, init="image", init_image=STYLE)
    start = fit(IMAGES[STYLE], 128)
    assert made.images[0].pixels.shape == (128, 100, 3)
    assert np.abs(made.images[0].pixels.mean((0, 1)) - start.mean((0, 1))).max() < 20


def test_a_size_that_does_not_fit_is_refused_with_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.runners.optimized.available_memory", lambda device: 10_000_000)
    with pytest.raises(AtelierError) as error:
        run(method="gatys", style=STYLE, size=512)
    assert error.value.code == "out_of_memory"
    fits = error.value.details["size"]
    assert 32 <= fits < 512 and f"ask for {fits} or less" in str(error.value)
