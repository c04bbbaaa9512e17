"""Measures a training step of networks with group norms, channels-last or not: `python -m bench.group_norm`."""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from models.build import build
from models.tensors import autocast, on_device

CPU = torch.device("cpu")
AUTOENCODER = {
    "block_out_channels": (32, 64, 64),
    "layers_per_block": 1,
    "latent_channels": 4,
    "num_vq_embeddings": 1024,
}
CLIP = {
    **{"image_size": 64, "base_channels": 8, "hidden_size": 32, "text_layers": 1},
    **{"projection_dim": 128, "context_length": 8, "merges": ()},
}
NETWORKS = {
    "movq 64 px, 16 images": (
        {"name": "movq"} | AUTOENCODER,
        lambda model: model(torch.rand(16, 3, 64, 64)).sample,
    ),
    "kandinsky's UNet, 32 images": (
        {"name": "kandinsky", "block_out_channels": (64, 96, 160), "layers_per_block": 1, "clip": CLIP}
        | {"autoencoder": AUTOENCODER},
        lambda model: (
            model.unet(
                torch.randn(32, 4, 16, 16),
                torch.arange(32),
                None,
                added_cond_kwargs={"image_embeds": torch.randn(32, 128)},
            ).sample
        ),
    ),
}


def main() -> None:
    """Prints seconds per step with all tensors channels-last, with channels-first norms, and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"seconds per step, median of {args.rounds}; {torch.get_num_threads()} threads")
    print(f"{'':30}{'channels-last':>14}{'as here':>10}{'ratio':>8}")
    for name, (architecture, forward) in NETWORKS.items():
        plain = build(architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        theirs, ours = (seconds(model, forward, args.rounds) for model in (plain, on_device(build(architecture), CPU)))
        print(f"{name:30}{theirs:14.3f}{ours:10.3f}{theirs / ours:7.2f}x", flush=True)


def seconds(model: nn.Module, forward: Callable[[nn.Module], torch.Tensor], rounds: int) -> float:
    """Median seconds of a forward and a backward pass, after one warm-up."""
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        with autocast(CPU):
            made = forward(model)
        made.float().square().mean().backward()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
