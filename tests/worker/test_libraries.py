"""Versions of libraries are those that are installed."""

from importlib.metadata import PackageNotFoundError

import pytest
import torch

from worker.libraries import versions_of


def test_versions_are_those_of_the_installed_packages() -> None:
    assert versions_of("torch", "numpy").keys() == {"torch", "numpy"}
    assert versions_of("torch") == {"torch": torch.__version__}
    with pytest.raises(PackageNotFoundError):
        versions_of("no-such-package")
