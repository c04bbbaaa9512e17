"""Measures encoding into each space, in images per second by batch size: `python -m bench.encode`."""

import argparse
import statistics
import time
from collections.abc import Iterator

import torch

from models.build import load_model
from models.catalogue import cards
from models.space.space import PixelSpace, Space, space_of
from models.tensors import autocast, best_device

BATCHES = (1, 4, 16, 64, 256)
SPACES = ("vae-smileys", "dcgan-avatars", "kandinsky-avatars")


def main() -> None:
    """Prints a row for each space, a column for each batch size, and the ratio of the best to the first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    device = best_device()
    print(f"images per second on {device}, median of {args.rounds}; {torch.get_num_threads()} threads")
    print(f"{'space':20}" + "".join(f"{batch:>12}" for batch in BATCHES) + "    best")
    for name, space in spaces(device):
        rates = [rate(space, batch, device, args.rounds) for batch in BATCHES]
        print(f"{name:20}" + "".join(f"{each:12,.0f}" for each in rates) + f"{max(rates) / rates[0]:7.1f}x", flush=True)


def spaces(device: torch.device) -> Iterator[tuple[str, Space]]:
    """Yields gray pixels of 128 x 128, and the space of each shipped model that has one."""
    yield "pixels 128 gray", PixelSpace(128, 1)
    for name in SPACES:
        yield name, space_of(load_model(cards()[name], device=device), cards()[name].architecture)


@torch.inference_mode()
def rate(space: Space, batch: int, device: torch.device, rounds: int) -> float:
    """Images per second in batches of `batch`."""
    images = torch.rand(batch, space.channels, space.image_size, space.image_size, device=device)
    seconds = []
    for _ in range(rounds + 1):  # the first is a warm-up
        began = time.perf_counter()
        with autocast(device):
            space.encode(images).cpu()
        seconds.append(time.perf_counter() - began)
    return batch / statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
