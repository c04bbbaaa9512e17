import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from models.torch_file import MAGIC_NUMBER, read_legacy


def save(state: object, path: Path) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def small_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3))
    return torch.nn.ModuleDict({"features": layers, "classifier": torch.nn.Linear(7, 2)}).state_dict()


def test_reads_what_torch_wrote(tmp_path: Path) -> None:
    state = small_state()
    found = read_legacy(save(state, tmp_path / "a.pth"))
    assert list(found) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_steps_over_what_is_not_asked_for(tmp_path: Path) -> None:
    found = read_legacy(save(small_state(), tmp_path / "a.pth"), prefix="features.2")
    assert list(found) == ["features.2.weight", "features.2.bias"]
    np.testing.assert_array_equal(found["features.2.bias"], small_state()["features.2.bias"].numpy())


def test_views_and_shared_storages(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    found = read_legacy(save({"a": base, "b": base[1:, ::2], "c": base.T}, tmp_path / "a.pth"))
    np.testing.assert_array_equal(found["b"], [[4, 6], [8, 10]])
    np.testing.assert_array_equal(found["c"], base.T.numpy())


class Evil:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder / "ran"),)


def test_code_in_the_file_is_refused_and_not_run(tmp_path: Path) -> None:
    path = save({"features.0.weight": torch.zeros(1), "x": Evil(tmp_path)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a.pth is not a PyTorch file"):
        read_legacy(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x02.", b"PK\x03\x04", pickle.dumps(MAGIC_NUMBER, 2), pickle.dumps(1, 2), b"not at all"],
    ids=["empty", "nothing", "zip", "magic only", "other number", "text"],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ValueError, match="not a PyTorch file"):
        read_legacy(tmp_path / "a.pth")


@pytest.mark.parametrize("cut", [1, 4, 100, 300])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = save({"a": torch.ones(16)}, tmp_path / "a.pth")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match="not a PyTorch file"):
        read_legacy(path)


def test_skips_counts_of_batches(tmp_path: Path) -> None:
    norm = torch.nn.BatchNorm2d(3).state_dict()
    found = read_legacy(save(norm | {"last": torch.ones(2)}, tmp_path / "a.pth"))
    assert list(found) == ["weight", "bias", "running_mean", "running_var", "last"]
    np.testing.assert_array_equal(found["last"], [1, 1])


def test_other_element_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float32"):
        read_legacy(save({"a": torch.ones(2, dtype=torch.float64)}, tmp_path / "a.pth"))
