"""Upscales images by ncnn on the CPU; bench.upscale runs it in a virtual environment of its own.

Arguments: the `.param` and the `.bin` file, images (n, h, w, 3) of 0 to 255 as npy, the npy file of the results in
[0, 1], the number of threads, and of rounds. Prints the median seconds an image.
"""

import statistics
import sys
import time

import ncnn
import numpy as np


def main() -> None:
    """Upscales each image by itself, as ncnn does, in float32: x86 has no float16 arithmetic there."""
    param, weights, source, results = sys.argv[1:5]
    threads, rounds = map(int, sys.argv[5:7])
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.load_param(param)
    net.load_model(weights)
    images = np.load(source).astype(np.float32) / 255
    seconds = []
    for _ in range(rounds + 1):  # the first is a warm-up
        began = time.perf_counter()
        made = [_upscaled(net, image) for image in images]
        seconds.append((time.perf_counter() - began) / len(images))
    np.save(results, np.stack(made))
    print(statistics.median(seconds[1:]))


def _upscaled(net: ncnn.Net, image: np.ndarray) -> np.ndarray:
    extractor = net.create_extractor()
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))  # which a Mat refers to, without a copy
    extractor.input("data", ncnn.Mat(planes))
    return np.array(extractor.extract("output")[1]).transpose(1, 2, 0)


if __name__ == "__main__":
    main()
