from collections.abc import Iterator

import pytest

from models.build import load_model
from models.catalogue import card
from models.diffusion.text_to_image import TextToImageModel, load_text_to_image
from tests.models.diffusion.test_text_to_image_full_size import save


@pytest.fixture(scope="module", params=["stable-diffusion-1.5", "sdxl", "stable-diffusion-avatars"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextToImageModel]:
    """Tiny models of the published layouts, and the text-to-image model that ships."""
    if request.param == "stable-diffusion-avatars":
        loaded = load_model(card(request.param))
        assert isinstance(loaded, TextToImageModel)
        yield loaded
    else:
        folder = tmp_path_factory.mktemp("parts")
        save(folder, request.param == "sdxl")
        yield load_text_to_image(folder).eval()
