import pytest
import torch

from models.build import build
from models.clip import learn_merges
from models.errors import ArchitectureError
from models.generative.gan import mlp_generator
from models.space.space import PixelSpace, space_of, text_space

MODELS = [
    {"name": "conv-vae", "image_size": 16, "channels": 3, "latent_dim": 5, "base_channels": 8},
    {"name": "mlp-vae", "image_size": 8, "channels": 1, "latent_dim": 3, "hidden": 8},
    {"name": "dcgan", "image_size": 64, "channels": 3, "latent_dim": 4, "base_channels": 8, "encoder_channels": 8},
]
KANDINSKY = {
    "name": "kandinsky",
    **{"block_out_channels": [32, 32], "layers_per_block": 1},
    "clip": {
        **{"image_size": 16, "base_channels": 8, "hidden_size": 32, "text_layers": 1},
        **{"projection_dim": 6, "context_length": 12, "merges": learn_merges(["a face"], 5)},
    },
    "autoencoder": {
        **{"block_out_channels": [32, 32], "layers_per_block": 1, "latent_channels": 4, "num_vq_embeddings": 8},
    },
}


def test_pixels_come_back_as_they_were() -> None:
    space, images = PixelSpace(4, 3), torch.rand(2, 3, 4, 4)
    assert (space.dim, space.encode(images).shape) == (48, (2, 48))
    assert torch.equal(space.decode(space.encode(images), seeds=[0, 0]), images)
    assert space.decode(torch.full((1, 48), 2.0), seeds=[0]).max() == 1, "cut to what can be shown"


@torch.inference_mode()
@pytest.mark.parametrize("architecture", MODELS, ids=lambda architecture: str(architecture["name"]))
def test_every_model_with_an_encoder_is_a_space(architecture: dict[str, object]) -> None:
    space = space_of(build(architecture).eval(), architecture)
    size, channels = architecture["image_size"], architecture["channels"]
    images = torch.rand(5, channels, size, size)  # type: ignore[call-overload]
    vectors = space.encode(images)
    assert vectors.shape == (5, space.dim) and space.dim == architecture["latent_dim"]
    assert vectors.dtype == torch.float32 and (space.image_size, space.channels) == (size, channels)
    assert space.decode(vectors, seeds=range(5)).shape == images.shape


@torch.inference_mode()
def test_a_dcgan_is_given_no_shorter_codes_than_it_knows() -> None:
    model = build(MODELS[2]).eval()
    space = space_of(model, MODELS[2])
    towards = torch.tensor([[0.6, 0.0, 0.0, 0.8]])
    stretched, long = model.decode(towards * 2**0.5), model.decode(towards * 3)  # type: ignore[operator]
    assert torch.allclose(space.decode(towards * 0.01, seeds=[0]), stretched, atol=1e-5)
    assert torch.allclose(space.decode(towards * 3, seeds=[0]), long, atol=1e-5)


@torch.inference_mode()
def test_embeddings_are_a_space_that_reports_steps() -> None:
    space = space_of(build(KANDINSKY).eval(), KANDINSKY)
    assert (space.dim, space.image_size, space.channels) == (6, 16, 3)
    vectors = space.encode(torch.rand(2, 3, 16, 16))
    assert vectors.shape == (2, 6)

    def stop() -> None:
        raise InterruptedError

    assert space.decode(vectors, seeds=[1, 2]).shape == (2, 3, 16, 16)
    with pytest.raises(InterruptedError):
        space.decode(vectors, seeds=[1, 2], on_step=stop)


def test_models_and_spaces_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ArchitectureError, match="a Generator does not encode images"):
        space_of(mlp_generator(28, 1, 2), {})
    with pytest.raises(ArchitectureError, match="a PixelSpace does not encode texts"):
        text_space(PixelSpace(8, 1))
