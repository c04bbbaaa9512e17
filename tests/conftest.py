"""Sets the environment before anything of Atelier is imported, and marks the slow tests."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from tests.stack import Stack

# What imports and the collection of tests make stays: searching it for garbage took a quarter of their time.
gc.disable()
ROOT = Path(__file__).parent.parent
os.environ.setdefault("ATELIER_WEIGHTS_DIR", str(ROOT / "data" / "weights"))
# Processes that tests start share compiled modules, also where pip has compiled none.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# As in worker/app.py: OpenMP's threads soon sleep while they wait for each other.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
# Processes that run tests beside each other share the cores.
beside = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // beside)))


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Stack]":
    """Starts an installation of which only Valkey runs, for the tests of a module."""
    from tests.stack import Stack  # after the environment is set

    made = Stack(tmp_path_factory.mktemp("valkey"))
    made.start_valkey()
    yield made
    made.stop()


# Files whose tests share an installation run in one process: each other process would start one more.
TOGETHER = ("tests/api/", "tests/client/", "tests/integration/test_reliability")
ALONE = "tests/api/test_schemathesis.py"  # the longest file, with an installation of its own


class ByInstallation(LoadFileScheduling):
    """Gives whole files to a process, and all of `TOGETHER` to one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return next((start for start in TOGETHER if file.startswith(start) and file != ALONE), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByInstallation | None:
    return ByInstallation(config, log) if config.getoption("dist") == "loadfile" else None


# `scripts/test --quick` leaves out the tests with service processes or shipped weights, and those that train.
SLOW_FIXTURES = {
    "api_alone",
    "attacked",
    "pair",
    "quick_stack",
    "s3",
    "shared_stack",
    "stack",
    "valkey",
    "venvs",
    "vgg16",
    "wheel",
}
SLOW_PATHS = (
    "tests/api/test_api",
    "tests/api/test_imports.py",
    "tests/client/test_generate.py",
    "tests/integration/",
    "tests/jobs/test_queue.py",
    "tests/jobs/test_settings.py",
    "tests/models/data/test_avatars.py",
    "tests/models/diffusion/",
    "tests/models/stylize/test_fast.py",
    "tests/models/stylize/test_gatys.py",
    "tests/models/test_clip.py",
    "tests/models/test_evaluate.py",
    "tests/models/test_familiarity.py",
    "tests/models/test_fetch",
    "tests/models/test_safety.py",
    "tests/models/training/",
    "tests/studio/",
    "tests/test_deployment",
    "tests/test_examples.py",
    "tests/worker/",
)


def is_slow(path: Path) -> bool:
    return path.relative_to(ROOT).as_posix().startswith(SLOW_PATHS)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Saves the import of slow files in the quick lane."""
    return True if config.getoption("markexpr") == "not slow" and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures: set[str] = set(getattr(item, "fixturenames", ()))
        if fixtures & SLOW_FIXTURES or is_slow(item.path):
            item.add_marker("slow")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Lets the garbage collector work from here on, and pass over what was there before the first test."""
    gc.freeze()
    gc.enable()
