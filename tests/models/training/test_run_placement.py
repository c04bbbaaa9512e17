"""Every recipe on a stand-in for a GPU (tests/stand_in.py), where tensors of two devices do not mix."""

from pathlib import Path

import pytest

from models.data.dataset import Dataset
from models.training.run import Schedule
from tests.models.training.tiny import SETTINGS, train
from tests.stand_in import gpu

pytestmark = pytest.mark.usefixtures("frozen", "few_steps", "no_plots")


class Killed(Exception):
    pass


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_and_its_checkpoint(
    data: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    def kill(path: Path) -> None:
        raise Killed

    monkeypatch.setenv("ATELIER_DTYPE", "float32")
    schedule = Schedule(num_steps=2, batch_size=4, sample_every=2, checkpoint_every=1)
    with gpu() as watch:
        with pytest.raises(Killed):
            train(name, data, tmp_path, schedule, on_checkpoint=kill)
        train(name, data, tmp_path, schedule)
    assert watch.networks_on_cpu() == set()
