from collections.abc import Iterator

import pytest

from atelier_client import Atelier
from tests.stack import CALM, Stack


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with one worker, shared by the tests of the client."""
    made = Stack(tmp_path_factory.mktemp("client"), **CALM)
    yield made.start_all()
    made.stop()


@pytest.fixture
def atelier(stack: Stack) -> Iterator[Atelier]:
    """A client of the installation."""
    with Atelier(f"http://127.0.0.1:{stack.api_port}", retries=3) as client:
        yield client
