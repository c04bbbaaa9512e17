"""How text-to-image works, with untrained networks where any will do."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.build import load_model
from models.catalogue import cards
from models.data.avatars import avatar
from models.diffusion.autoencoders import autoencoder_kl, standardize
from models.diffusion.text_to_image import (
    TextToImageModel,
    chunks,
    cut_off,
    generate,
    preview,
    stable_diffusion,
)
from models.tensors import to_tensor

TEXT: dict[str, Any] = {"image_size": 16, "base_channels": 8, "hidden_size": 32, "text_layers": 1, "projection_dim": 8}
TEXT |= {"context_length": 8, "merges": ["h a", "ha t</w>"]}
AUTOENCODER: dict[str, Any] = {"block_out_channels": (32, 32), "layers_per_block": 1, "latent_channels": 8}
PROMPTS = ["a hat", "a man", "no hat"]


@pytest.fixture(scope="module")
def model() -> TextToImageModel:
    torch.manual_seed(0)
    return stable_diffusion((32, 32), 1, 32, TEXT, AUTOENCODER).eval().requires_grad_(False)


def made(model: TextToImageModel, prompts: list[str], seeds: list[int], **more: Any) -> Tensor:
    return generate(model, prompts, seeds=seeds, **{"width": 32, "height": 32, "num_inference_steps": 4} | more)


def test_seed_prompt_negative_prompt_and_guidance_all_matter(model: TextToImageModel) -> None:
    def one(prompt: str = "a hat", seed: int = 1, **more: Any) -> Tensor:
        return made(model, [prompt], [seed], **more)

    found = [one(), one("a man"), one(seed=2), one(negative_prompts=["fog"]), one(guidance_scale=8)]
    assert all(not torch.equal(a, b) for i, a in enumerate(found) for b in found[:i])


def test_a_image_to_start_from_is_kept_the_more_the_smaller_the_strength() -> None:
    """With the shipped model: an untrained one takes no noise away."""
    model: Any = load_model(cards()["stable-diffusion-avatars"])
    face = to_tensor(avatar(77, 0)[0][None])
    numbers: list[int] = []

    def like(strength: float) -> Tensor:
        numbers.clear()
        with torch.inference_mode():
            return made(
                model,
                ["a man with glasses and a blue hat"],
                [1],
                images=face,
                strength=strength,
                width=64,
                height=64,
                num_inference_steps=10,
                on_step=lambda step, latents: numbers.append(step),
            )

    gentle = like(0.2)
    assert numbers == [1, 2]
    strong = like(1.0)
    assert numbers == list(range(1, 11))
    # Between the two the face is another one: this separates the cases, it is no precision.
    assert (gentle - face).abs().mean() < 0.06 < (strong - face).abs().mean()


def test_inpainting_changes_what_the_mask_covers_and_nothing_else(model: TextToImageModel) -> None:
    images, masks = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    masks[0, :, :16], masks[1, :, :, 8:] = 1, 1
    found = made(model, PROMPTS[:2], [1, 2], images=images, masks=masks, strength=1.0)
    covered = masks.expand_as(images) > 0
    assert torch.equal(found[~covered], images[~covered])
    assert (found[covered] - images[covered]).abs().mean() > 0.05


def test_what_is_raised_at_a_step_stops_it(model: TextToImageModel) -> None:
    def stop(step: int, latents: Tensor) -> None:
        assert latents.shape == (1, 8, 16, 16)
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(model, ["a hat"], [1], on_step=stop)
    assert made(model, ["a hat"], [1]).shape == (1, 3, 32, 32)


def test_nothing_of_a_long_prompt_is_cut_off(model: TextToImageModel) -> None:
    assert (chunks(model, "hat " * 6), chunks(model, "hat " * 6, "hat " * 7 + "man")) == (1, 2)
    assert cut_off(model, "hat " * 7 + "man") == ""


def test_previews_have_the_colors_of_images() -> None:
    """With an autoencoder that is linear: its latents are the colors of each place, turned round."""

    class Posterior:
        def __init__(self, latents: Tensor) -> None:
            self.mode = lambda: latents

    class Turned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn = torch.nn.Parameter(torch.linalg.qr(torch.randn(4, 4)).Q[:, :3])
            self.dtype = torch.float32
            self.config = type("Config", (), {"scaling_factor": 0.5, "shift_factor": 0.25})

        def encode(self, images: Tensor) -> Any:
            small = torch.nn.functional.avg_pool2d(images, 8)
            found = torch.einsum("ck,nkhw->nchw", self.turn, small)
            return type("Output", (), {"latent_dist": Posterior(found)})

    torch.manual_seed(0)
    vae = Turned()
    model: Any = TextToImageModel.__new__(TextToImageModel)
    torch.nn.Module.__init__(model)
    model.add_module("vae", vae)
    object.__setattr__(model, "pipeline", type("Pipeline", (), {"vae": vae, "_execution_device": torch.device("cpu")}))
    image = torch.rand(1, 3, 1, 1).expand(1, 3, 32, 32)
    latents = (vae.encode(2 * image - 1).latent_dist.mode() - 0.25) * 0.5
    found = preview(latents.detach(), model.latent_colors)
    assert found.shape == (1, 3, 4, 4)
    assert torch.allclose(found, image[..., :4, :4], atol=1e-4)


def test_standardized_latents_of_an_autoencoder_kl_have_mean_0_and_variance_1_and_decode_as_before() -> None:
    torch.manual_seed(0)
    autoencoder: Any = autoencoder_kl(**AUTOENCODER).eval().requires_grad_(False)
    images = torch.rand(8, 3, 32, 32)
    before = autoencoder.encode(images).latent_dist
    decoded = autoencoder.decode(before.mean).sample
    mean, std = before.mean.mean((0, 2, 3)), before.mean.std((0, 2, 3))
    standardize(autoencoder, mean, std)
    after = autoencoder.encode(images).latent_dist
    assert torch.allclose(after.mean, (before.mean - mean[:, None, None]) / std[:, None, None], atol=1e-4)
    assert torch.allclose(after.std, before.std / std[:, None, None], rtol=1e-3)
    assert torch.allclose(autoencoder.decode(after.mean).sample, decoded, atol=1e-4)
