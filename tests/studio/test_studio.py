"""Every story of the Studio in a real browser, with one installation for all: each test is in a module by its view."""

from tests.studio.collections import *  # noqa: F403
from tests.studio.faults import *  # noqa: F403
from tests.studio.generate import *  # noqa: F403
from tests.studio.jobs import *  # noqa: F403
from tests.studio.map import *  # noqa: F403
from tests.studio.style import *  # noqa: F403
from tests.studio.train import *  # noqa: F403
