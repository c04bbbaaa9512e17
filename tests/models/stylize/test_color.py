import numpy as np

from models.stylize.color import LUMINANCE, Array, match_colors, replace_luminance, to_gray


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_gray_by_hand() -> None:
    image = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1]]], np.float32)
    np.testing.assert_allclose(to_gray(image)[0, :, 1], [0.299, 0.587, 0.114], rtol=1e-6)


def test_gray_like_another_has_its_mean_and_spread() -> None:
    image, like = random(20, 20, 3), 0.3 + 0.4 * random(9, 30, 3, seed=1)
    found = to_gray(image, like)[..., 0]
    luminance = like @ LUMINANCE
    np.testing.assert_allclose([found.mean(), found.std()], [luminance.mean(), luminance.std()], rtol=1e-3)


def test_luminance_is_the_paintings_and_color_the_images() -> None:
    image, painted = 0.4 + 0.2 * random(8, 8, 3), 0.4 + 0.2 * random(8, 8, 3, seed=1)
    found = replace_luminance(image, painted)
    np.testing.assert_allclose(found @ LUMINANCE, painted @ LUMINANCE, atol=1e-6)
    np.testing.assert_allclose(found - found.mean(2, keepdims=True), image - image.mean(2, keepdims=True), atol=1e-6)


def test_colors_have_the_mean_and_covariance_of_the_others() -> None:
    mixed = np.array([[0.2, 0.05, 0], [0.05, 0.15, 0.05], [0, 0.05, 0.1]])
    image, like = random(40, 40, 3), (0.3 + random(30, 50, 3, seed=1) @ mixed).astype(np.float32)
    found = match_colors(image, like).reshape(-1, 3)
    # Values outside [0, 1] are clipped, which moves the mean by less than half a level of 255.
    np.testing.assert_allclose(found.mean(0), like.reshape(-1, 3).mean(0), atol=2e-3)
    np.testing.assert_allclose(np.cov(found.T), np.cov(like.reshape(-1, 3).T), atol=2e-4)


def test_a_image_with_those_colors_stays_as_it_is() -> None:
    image = random(20, 20, 3)
    np.testing.assert_allclose(match_colors(image, image), image, atol=1e-4)


def test_a_flat_image_takes_the_mean_color() -> None:
    like = random(20, 20, 3)
    found = match_colors(np.full((8, 8, 3), 0.5, np.float32), like)
    np.testing.assert_allclose(found, np.broadcast_to(like.mean((0, 1)), (8, 8, 3)), atol=1e-3)
