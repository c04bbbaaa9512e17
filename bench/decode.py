"""Measures the decoding of latents on the CPU, all at once and in chunks as served: `python -m bench.decode`."""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from models.build import load_model
from models.catalogue import cards
from models.diffusion.autoencoders import decoded_images
from models.generative.dcgan import Dcgan
from models.tensors import autocast, expect_class, on_device

CPU = torch.device("cpu")


@torch.inference_mode()
def main() -> None:
    """Prints images per second of both, and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    vae = on_device(expect_class(load_model(cards()["dcgan-avatars"]), Dcgan), CPU).vae
    print(f"images per second, median of {args.rounds}; {torch.get_num_threads()} threads")
    print(f"{'images':>6}{'at once':>10}{'as served':>12}{'ratio':>8}")
    for n in (16, 64, 256):
        latents = torch.randn(n, vae.config.latent_channels, 16, 16)
        whole, served = (
            n / seconds(decode, latents, args.rounds)
            for decode in (lambda x: vae.decode(x).sample, lambda x: decoded_images(vae, x))
        )
        print(f"{n:6}{whole:10.1f}{served:12.1f}{served / whole:7.2f}x", flush=True)


def seconds(decode: Callable[[Tensor], Tensor], latents: Tensor, rounds: int) -> float:
    """Median seconds of a decoding in the fast dtype, after one warm-up."""
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        with autocast(CPU):
            decode(latents)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
