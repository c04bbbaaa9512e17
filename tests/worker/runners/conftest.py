from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs.objects import Objects
from jobs.settings import get_settings
from jobs.store.jobs import JobStore
from jobs.store.records import Record
from models.catalogue import WEIGHTS_DIR, Card
from tests.stack import Stack
from tests.worker.runners import generations
from tests.worker.runners.collecting import SMILEYS, found
from tests.worker.runners.prompted import ARCHITECTURE, saved
from tests.worker.tasks import forget


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JobStore, Objects]]:
    """One job store for the tests of collections, which build on each other's collection."""
    stack = Stack(tmp_path_factory.mktemp("collections"))
    stack.start_valkey()
    settings = stack.settings.model_copy(update={"job_timeout_s": 600})
    jobs = JobStore(stack.jobs.client, settings)
    yield jobs, Objects(settings, jobs, retry_s=1)
    stack.stop()


@pytest.fixture(scope="session")
def smileys(installation: tuple[JobStore, Objects]) -> Record:
    """The job that built a collection of smileys, whose id is in its metrics."""
    return found(installation, SMILEYS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Card]:
    """The card of a tiny model, whose file is in the folder of trained models."""
    weights_dir = tmp_path_factory.mktemp("weights")
    (weights_dir / "vgg16").symlink_to((WEIGHTS_DIR / "vgg16").resolve())
    with trained_models(weights_dir):
        yield saved("tiny", ARCHITECTURE, weights_dir)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Card]]:
    """The cards of tiny models, whose files are in the folder of trained models."""
    weights_dir = tmp_path_factory.mktemp("weights")
    with trained_models(weights_dir):
        yield generations.save_models(weights_dir)


@contextmanager
def trained_models(weights_dir: Path) -> Iterator[None]:
    """Sets the folder of trained models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATELIER_WEIGHTS_DIR", str(weights_dir))
        forget()
        yield
    forget()


@pytest.fixture(scope="module")
def upscalers(known: dict[str, Card]) -> dict[str, Card]:
    """The tiny models, and a network that repeats each pixel."""
    return known | {"repeats": generations.saved_repeats(get_settings().weights_dir)}
