"""Autoencoders of latent diffusion over patches: their principal components, and what their decoder adds."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from models.diffusion.autoencoders import CHUNK, autoencoder_kl, decoded_images, movq, standardize

KEPT = 8


@pytest.fixture
def images() -> torch.Tensor:
    coarse = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=32, mode="bilinear") * 2 - 1


@pytest.fixture
def fitted(images: torch.Tensor) -> Any:
    torch.manual_seed(0)
    model: Any = movq((32, 32), 1, latent_channels=KEPT, num_vq_embeddings=4, patch_size=4)
    model.fit(images)
    return model.eval()


@torch.inference_mode()
def test_latents_are_the_component_scores_of_patches(fitted: Any, images: torch.Tensor) -> None:
    latents = fitted.encode(images).latents
    assert latents.shape == (6, KEPT, 4, 4)
    patches = torch.nn.functional.pixel_unshuffle(images, 8).permute(0, 2, 3, 1).reshape(-1, 192).numpy()
    pca = PCA(KEPT).fit(patches)
    scores = latents.permute(0, 2, 3, 1).reshape(-1, KEPT).numpy()
    assert_allclose(np.abs(scores), np.abs(pca.transform(patches)), atol=1e-4)
    reconstruction = torch.nn.functional.pixel_unshuffle(fitted.decode(latents, force_not_quantize=True).sample, 8)
    expected = pca.inverse_transform(pca.transform(patches))
    assert_allclose(reconstruction.permute(0, 2, 3, 1).reshape(-1, 192).numpy(), expected, atol=1e-4)


@torch.inference_mode()
def test_standardized_latents_decode_to_the_same_images(fitted: Any, images: torch.Tensor) -> None:
    torch.nn.init.normal_(fitted.decoder.conv_out.weight, std=0.05)  # as training leaves it: the convolutions add lines
    latents = fitted.encode(images).latents
    before = fitted.decode(latents, force_not_quantize=True).sample
    standardize(fitted, latents.mean((0, 2, 3)), latents.std((0, 2, 3)))
    latents = fitted.encode(images).latents
    assert_allclose(latents.mean((0, 2, 3)), np.zeros(KEPT), atol=1e-4)
    assert_allclose(latents.std((0, 2, 3)), np.ones(KEPT), atol=1e-3)
    assert_allclose(fitted.decode(latents, force_not_quantize=True).sample, before, atol=1e-3)


@torch.inference_mode()
def test_images_do_not_depend_on_the_chunks_that_are_decoded() -> None:
    torch.manual_seed(0)
    vae: Any = autoencoder_kl((32, 32), 1, 4).eval()
    latents = torch.randn(2 * CHUNK + 1, 4, 4, 4)
    images = decoded_images(vae, latents)
    assert images.shape == (len(latents), 3, 8, 8)
    assert_allclose(images, vae.decode(latents).sample / 2 + 0.5, atol=1e-5)
