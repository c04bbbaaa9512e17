from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, KandinskyV22Pipeline
from torch import Tensor

from models.clip import learn_merges
from models.diffusion.autoencoders import movq, standardize
from models.diffusion.embedding import NOISE, EarlyScheduler, Kandinsky, kandinsky
from models.tensors import load_weights, save_weights

AUTOENCODER: dict[str, Any] = {
    "block_out_channels": [32, 32],
    "layers_per_block": 1,
    "latent_channels": 4,
    "num_vq_embeddings": 8,
}
CLIP: dict[str, Any] = {
    **{"image_size": 16, "base_channels": 8, "hidden_size": 32, "text_layers": 1},
    **{"projection_dim": 6, "context_length": 12, "merges": learn_merges(["a face", "a hat"], 10)},
}
STEPS = 2


def tiny(seed: int = 0) -> Kandinsky:
    torch.manual_seed(seed)
    return kandinsky((32, 32), 1, CLIP, AUTOENCODER).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def decoder() -> Kandinsky:
    return tiny()


def test_shapes_and_range(decoder: Kandinsky) -> None:
    images = decoder.decode(torch.randn(2, decoder.dim), seeds=[0, 1], num_inference_steps=STEPS)
    assert images.shape == (2, 3, 16, 16) and (decoder.dim, decoder.image_size) == (6, 16)
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.01


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_a_image_is_the_same_alone_and_in_a_batch(decoder: Kandinsky, guidance_scale: float) -> None:
    embeds = torch.randn(3, 6)

    def made(rows: list[int]) -> Tensor:
        seeds = [10 + row for row in rows]
        return decoder.decode(embeds[rows], seeds=seeds, num_inference_steps=STEPS, guidance_scale=guidance_scale)

    assert torch.allclose(made([0, 1, 2])[1], made([1])[0], atol=1e-4)
    assert not torch.allclose(made([0]), made([1]), atol=1e-2)


def test_the_embedding_and_the_guidance_change_the_image(decoder: Kandinsky) -> None:
    a, b = torch.randn(2, 1, 6)

    def made(embeds: Tensor, guidance_scale: float) -> Tensor:
        return decoder.decode(embeds, seeds=[0], num_inference_steps=STEPS, guidance_scale=guidance_scale)

    assert not torch.allclose(made(a, 1.0), made(b, 1.0), atol=1e-4)
    assert not torch.allclose(made(a, 1.0), made(a, 4.0), atol=1e-4)
    # Nothing to be guided away from: with no embedding both answers are one.
    nothing = torch.zeros(1, 6)
    assert torch.allclose(made(nothing, 1.0), made(nothing, 4.0), atol=1e-4)


def test_steps_of_an_early_scheduler_end_at_the_estimate() -> None:
    kind: Any = EarlyScheduler
    scheduler = kind(**NOISE)
    scheduler.last_timestep = 319
    scheduler.set_timesteps(3)
    assert scheduler.timesteps.tolist() == [999, 659, 319]
    sample, velocity = torch.randn(2, 1, 4, 8, 8)
    signal = scheduler.alphas_cumprod[319]
    estimate = signal.sqrt() * sample - (1 - signal).sqrt() * velocity
    assert torch.allclose(scheduler.step(velocity, 319, sample).prev_sample, estimate, atol=1e-5)


def test_an_estimate_is_what_a_scheduler_predicts_with_the_guidance_of_the_model() -> None:
    model = kandinsky((32, 32), 1, CLIP, AUTOENCODER, guidance_scale=3.0).eval().requires_grad_(False)
    noisy, embeds, timesteps = torch.randn(2, 4, 4, 4), torch.randn(2, 6), torch.tensor([400, 400])
    v = [
        model.unet(noisy, timesteps, None, added_cond_kwargs={"image_embeds": each}).sample[:, :4]
        for each in (torch.zeros(2, 6), embeds)
    ]
    guided = v[0] + 3 * (v[1] - v[0])
    scheduler: Any = DDPMScheduler(**NOISE)
    wanted = scheduler.step(guided, 400, noisy).pred_original_sample
    assert torch.allclose(model.estimate(noisy, timesteps, embeds), wanted, atol=1e-4)


def test_a_model_decodes_with_its_own_guidance_and_last_timestep(decoder: Kandinsky) -> None:
    own = kandinsky((32, 32), 1, CLIP, AUTOENCODER, guidance_scale=3.0, last_timestep=319).eval()
    own.load_state_dict(decoder.state_dict())
    embeds = torch.randn(1, 6)
    early = own.decode(embeds, seeds=[0], num_inference_steps=STEPS)
    own.last_timestep = 0
    late = own.decode(embeds, seeds=[0], num_inference_steps=STEPS)
    assert not torch.allclose(early, late, atol=1e-4)
    assert torch.equal(late, decoder.decode(embeds, seeds=[0], num_inference_steps=STEPS, guidance_scale=3.0))


def test_the_same_as_the_pipeline_of_diffusers(decoder: Kandinsky) -> None:
    pipeline: Any = KandinskyV22Pipeline(decoder.unet, DDPMScheduler(**NOISE), decoder.movq)
    pipeline.set_progress_bar_config(disable=True)
    embeds = torch.randn(1, 6)
    arguments = {"height": 16, "width": 16, "num_inference_steps": STEPS, "guidance_scale": 2.0}
    generator = torch.Generator().manual_seed(5)
    wanted = pipeline(embeds, torch.zeros(1, 6), **arguments, generator=generator, output_type="np").images
    ours = decoder.decode(embeds, seeds=[5], num_inference_steps=STEPS, guidance_scale=2.0)
    assert torch.allclose(ours, torch.from_numpy(wanted).permute(0, 3, 1, 2), atol=1e-5)


def test_images_and_texts_as_embeddings(decoder: Kandinsky) -> None:
    images = torch.rand(3, 3, 16, 16)
    assert torch.equal(decoder.encode_images(images), decoder.clip.encode_images(images))
    texts = ["a face", "a hat"]
    found = decoder.encode_texts(texts)
    text_embeds = decoder.clip.encode_texts(decoder.clip.tokenize(texts))
    by_hand = (text_embeds / text_embeds.norm(dim=1, keepdim=True)) @ decoder.prior.weight.T + decoder.prior.bias
    assert found.shape == (2, 6) and torch.allclose(found, by_hand, atol=1e-6)


def test_steps_are_reported_and_can_be_stopped(decoder: Kandinsky) -> None:
    calls: list[None] = []

    def on_step() -> None:
        calls.append(None)
        if len(calls) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        decoder.decode(torch.zeros(1, 6), seeds=[0], num_inference_steps=3, on_step=on_step)
    assert len(calls) == 2


def test_the_last_step_starts_from_almost_pure_noise() -> None:
    scheduler: Any = DDPMScheduler(**NOISE)
    scheduler.set_timesteps(25)
    assert int(scheduler.timesteps[0]) == 999
    assert scheduler.alphas_cumprod[999].sqrt() < 0.07


def test_images_survive_storage_in_half_precision(decoder: Kandinsky, tmp_path: Path) -> None:
    save_weights(decoder.state_dict(), tmp_path / "weights.safetensors")
    stored = tiny(seed=1)
    load_weights(stored, tmp_path / "weights.safetensors")
    embeds = torch.randn(1, 6)
    before, after = (model.decode(embeds, seeds=[0], num_inference_steps=STEPS) for model in (decoder, stored))
    assert torch.isfinite(after).all()
    # Half precision keeps 11 bits: 5e-4 of each weight, through some tens of layers and STEPS steps.
    assert F.l1_loss(before, after) < 0.01


def test_standardized_latents_have_mean_0_and_variance_1_and_decode_as_before() -> None:
    torch.manual_seed(0)
    autoencoder: Any = movq(**AUTOENCODER).eval().requires_grad_(False)
    autoencoder.quant_conv.bias.copy_(torch.tensor([3.0, -1.0, 0.0, 2.0]))
    autoencoder.quantize.embedding.weight.normal_()
    images = torch.rand(4, 3, 16, 16) * 2 - 1

    def reading() -> tuple[Tensor, Tensor, Tensor]:
        latents = autoencoder.encode(images).latents
        direct = autoencoder.decode(latents, force_not_quantize=True).sample
        return latents, direct, autoencoder.quantize.get_codebook_entry(torch.arange(8), None)

    latents, direct, codes = reading()
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    standardize(autoencoder, mean, std)
    new_latents, new_direct, new_codes = reading()
    assert torch.allclose(new_latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(new_latents.std((0, 2, 3)), torch.ones(4), atol=1e-4)
    assert torch.allclose(new_direct, direct, atol=1e-4)
    assert torch.allclose(new_codes * std + mean, codes, atol=1e-5)
