from pathlib import Path

import numpy as np
import pytest

from models.ncnn_file import HALF, read_ncnn

LAYERS = [
    "Input      in     0 1 data",
    "Convolution a     1 1 data 1 0=1 1=1 4=0 5=1 6=3",
    "PReLU      b      1 1 1 2 0=1",
    "Eltwise    c      2 1 2 1 3 0=1 -23301=2,2.0e-01,1.0",
]
KERNEL, BIAS, SLOPES = [1.0, 2.0, -0.5], [0.25], [0.1]


def written(folder: Path, layers: list[str] = LAYERS, flag: int = HALF, more: bytes = b"") -> tuple[Path, Path]:
    """A convolution of three values in float16, padded to 8 bytes, its bias, and the slopes of a PReLU."""
    param, weights = folder / "a.param", folder / "a.bin"
    param.write_text("\n".join(["7767517", f"{len(layers)} {len(layers)}", *layers, ""]))
    kernel = np.array([*KERNEL, 0], "<f2").tobytes()
    parts = [flag.to_bytes(4, "little"), kernel, np.array(BIAS, "<f4").tobytes(), np.array(SLOPES, "<f4").tobytes()]
    weights.write_bytes(b"".join(parts) + more)
    return param, weights


def test_reads_kernels_biases_and_slopes_in_the_order_of_the_layers(tmp_path: Path) -> None:
    kernel, bias, slopes = read_ncnn(*written(tmp_path))
    assert kernel.shape == (1, 3, 1, 1) and kernel.dtype == np.float16 and kernel.ravel().tolist() == KERNEL
    assert bias.tolist() == BIAS and slopes.tolist() == pytest.approx(SLOPES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flag": 0}, "not in float16"),
        ({"more": b"1234"}, "28 bytes, and the layers have 24|24 bytes, and the layers have 20"),
        ({"layers": [*LAYERS, "InnerProduct d 1 1 3 4 0=1"]}, "a layer of the type InnerProduct"),
        ({"layers": [*LAYERS, "PReLU d 1 1 3 4 0=1"]}, "buffer"),
    ],
)
def test_refuses_what_it_does_not_read(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_ncnn(*written(tmp_path, **change))  # type: ignore[arg-type]


def test_refuses_another_format(tmp_path: Path) -> None:
    param, weights = written(tmp_path)
    param.write_text("7767518\n1 1\n")
    with pytest.raises(ValueError, match="not a list of ncnn layers"):
        read_ncnn(param, weights)
