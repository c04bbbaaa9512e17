from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.data.dataset import Dataset
from models.training.autoencoder import GRAIN, AutoencoderSettings, _spread
from models.training.recipe import frozen_model
from tests.models.training.tiny import SCHEDULE, SETTINGS, train


def test_the_spread_of_plain_stripes_and_blurred_ones() -> None:
    stripes = torch.zeros(1, 1, 16, 16)
    stripes[..., ::2] = 1
    down, right = _spread(stripes)[0]
    assert torch.allclose(down, torch.tensor(GRAIN))  # rows are equal, so there are no differences
    # Differences of -1 and 1 along a row, four of each in a block, have mean 0 and variance 1. The last column of the
    # image is compared with itself: in the blocks at the right they are four of -1, three of 1 and a 0, with variance
    # 7 / 8 - (1 / 8) ** 2.
    assert torch.allclose(right[:, 0], torch.tensor(1.0))
    assert torch.allclose(right[:, 1], torch.tensor((7 / 8 - 1 / 64) ** 0.5))
    assert torch.allclose(_spread(stripes / 4)[0, 1, :, 0], torch.tensor(0.25))
    assert torch.allclose(_spread(torch.full((1, 1, 8, 8), 0.3)), torch.tensor(GRAIN))


def test_a_denoiser_needs_the_latents_of_the_start() -> None:
    with pytest.raises(ValueError, match="denoiser needs learned to be decoder"):
        AutoencoderSettings(denoiser="kandinsky")


@pytest.mark.usefixtures("frozen", "few_steps")
def test_a_decoder_learns_from_the_estimates_of_a_denoiser(
    data: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("kandinsky", data, tmp_path / "kandinsky", replace(SCHEDULE, num_steps=1))
    recipe, name, settings = SETTINGS["autoencoder"]
    settings = {**settings, "num_vq_embeddings": 16, "learned": "decoder", "denoiser": str(tmp_path / "kandinsky")}
    monkeypatch.setitem(SETTINGS, "decoder of estimates", (recipe, name, settings))
    start, card = frozen_model("movq")
    train("decoder of estimates", data, tmp_path / "movq", start=(start, card))
    trained, _ = frozen_model(str(tmp_path / "movq"))
    before, after = start.state_dict(), trained.state_dict()
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"decoder", "post_quant_conv"}
