"""The recipe of a network of one style: a few steps on small photos, and its use by `fast`."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from models.build import load_model
from models.catalogue import card_of
from models.data.dataset import Dataset
from models.data.photos import photos
from models.perceptual.vgg import VGG
from models.stylize.fast import BUILTIN_STYLES, Array, load_multistyle, load_trained, stylize_builtin
from models.stylize.feed_forward import StyleNet, of_builtin
from models.stylize.gatys import perceptual_loss
from models.tensors import to_tensor
from models.training.recipe import train_model
from models.training.run import Schedule
from models.training.style import RECIPE, Painting, StyleSettings, builtin_weights, nearest_builtin, train_style, varied

SCHEDULE = Schedule(num_steps=4, batch_size=2, sample_every=4, checkpoint_every=4)
SETTINGS = StyleSettings(style_size=96)


@pytest.fixture(scope="module")
def small() -> Dataset:
    return Dataset(photos(8).images[:, ::4, ::4])


@pytest.fixture(scope="module")
def painting(weights_dir: Path, vgg16: VGG) -> Painting:
    """A painting in a built-in style."""
    ramp = np.linspace(0, 1, 96, dtype=np.float32)
    content = np.stack([np.broadcast_to(ramp, (96, 96)), ramp[:, None] * ramp, 1 - ramp[:, None] * ramp], axis=-1)
    weights = np.eye(BUILTIN_STYLES, dtype=np.float32)[3]
    image = stylize_builtin(load_multistyle(weights_dir), np.ascontiguousarray(content), weights)
    return Painting(image, vgg16, builtin_weights(weights_dir))


def losses(painting: Painting, network: StyleNet, contents: torch.Tensor) -> float:
    style = torch.from_numpy(painting.image).permute(2, 0, 1)[None]
    with torch.inference_mode():
        return float(perceptual_loss(painting.vgg, style, 96)(contents, network(contents))[0])


def test_a_few_steps_lower_the_loss_and_the_model_paints_at_once(
    painting: Painting, small: Dataset, weights_dir: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, train=partial(train_style, painting=painting))
    folder = tmp_path / "trained" / "style-1"
    card = card_of(train_model(recipe, small, SETTINGS, SCHEDULE, folder, model_id="style-1", data="photos"))
    assert card.task == "style-transfer" and card.training["steps_taken"] == 4
    (tmp_path / "fast-multistyle").symlink_to(weights_dir.resolve() / "fast-multistyle")

    trained = load_model(card, tmp_path)
    assert isinstance(trained, StyleNet)
    contents = to_tensor(small.images[:2])
    before = StyleNet()
    style = torch.from_numpy(painting.image).permute(2, 0, 1)[None]
    before.load_state_dict(nearest_builtin(painting.builtin, perceptual_loss(painting.vgg, style, 96), contents[:1]))
    assert losses(painting, trained, contents) < losses(painting, before, contents)

    photo = small.images[0].astype(np.float32) / 255
    one: Array = np.eye(1, BUILTIN_STYLES, dtype=np.float32)[0]
    found = stylize_builtin(load_trained(card, tmp_path), photo, one)
    with torch.inference_mode():
        expected = trained(contents[:1])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert (folder / "samples" / "000004.png").is_file()


def test_gray_images_are_photos_too(painting: Painting, small: Dataset, tmp_path: Path) -> None:
    recipe = replace(RECIPE, train=partial(train_style, painting=painting))
    gray = Dataset(small.images[:2, ::2, ::2, :1])
    once = replace(SCHEDULE, num_steps=1)
    card = train_model(recipe, gray, SETTINGS, once, tmp_path / "gray", model_id="style-2", data="photos")
    assert card["training"]["steps_taken"] == 1


def test_a_training_begins_with_the_built_in_style_that_is_nearest(painting: Painting, small: Dataset) -> None:
    style = torch.from_numpy(painting.image).permute(2, 0, 1)[None]
    state = nearest_builtin(painting.builtin, perceptual_loss(painting.vgg, style, 96), to_tensor(small.images[:1]))
    assert all(map(torch.equal, state.values(), of_builtin(painting.builtin, 3).values()))


def test_photos_are_varied_in_light_and_mirrored_and_stay_images(small: Dataset) -> None:
    contents = to_tensor(small.images)
    torch.manual_seed(0)
    found = varied(contents)
    assert found.shape == contents.shape and 0 <= float(found.min()) <= float(found.max()) <= 1
    pairs = (torch.stack([a.mean(0).flatten(), b.mean(0).flatten()]) for a, b in zip(found, contents, strict=True))
    alike = [float(torch.corrcoef(pair)[0, 1]) > 0.9 for pair in pairs]
    assert 0 < sum(alike) < 8, "some are mirrored, some are not"
