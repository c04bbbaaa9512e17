import numpy as np

from models.stylize.fast import TILE
from models.stylize.texture import texture


def test_the_texture_is_gray_with_equal_power_in_each_octave() -> None:
    image = texture()
    assert image.shape == (TILE, TILE, 3) and image.dtype == np.float32
    assert image.min() >= 0 and image.max() <= 1 and not image.flags.writeable
    np.testing.assert_array_equal(image, image[..., :1].repeat(3, axis=2))
    power = np.abs(np.fft.fft2(image[..., 0] - image[..., 0].mean())) ** 2
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(TILE) * TILE] * 2))
    octaves = [power[(radius >= low) & (radius < 2 * low)].sum() for low in (8, 16, 32, 64)]
    # Pixels beyond 0 and 1 are clipped, which moves some power to high frequencies.
    assert max(octaves) < 2 * min(octaves)
