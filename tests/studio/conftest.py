from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.stack import CALM, Stack
from tests.studio.browser import COLORS, SIZES, Look, browser_path

STORIES = ("collections", "faults", "generate", "jobs", "map", "style", "train")
pytest.register_assert_rewrite(*(f"tests.studio.{name}" for name in STORIES))
PATIENCE_MS = 120_000  # a busy machine
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation with one worker, of one thread as OpenMP counts."""
    made = Stack(tmp_path_factory.mktemp("studio"), **CALM)
    yield made.start_all()
    made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of a module: it has an event loop, which those of other modules must not meet."""
    path = browser_path()
    if path is None:
        pytest.skip("there is no Chromium: scripts/test installs Debian's, or set ATELIER_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, browser: Browser, studio: Stack) -> Iterator[Page]:
    """A page of a new session, on the desktop and again on a phone; an error in its console fails the test."""
    yield from opened(browser, studio, request.param)


@pytest.fixture
def desktop(browser: Browser, studio: Stack) -> Iterator[Page]:
    """A page of a new session on the desktop."""
    yield from opened(browser, studio, "desktop")


@pytest.fixture
def phone(browser: Browser, studio: Stack) -> Iterator[Page]:
    """A page of a new session on a phone: what a story repeats runs on one size, and is looked at on both."""
    yield from opened(browser, studio, "phone")


def opened(browser: Browser, studio: Stack, size: str) -> Iterator[Page]:
    width, height = SIZES[size]
    context = browser.new_context(
        base_url=studio.url,
        viewport={"width": width, "height": height},
        has_touch=size == "phone",
        color_scheme=COLORS[size],
        reduced_motion="reduce",
        accept_downloads=True,
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    faults: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # Chromium itself logs every response that is not a success.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            faults.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert not faults, faults


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """Checks and screenshots of views."""
    return Look(tmp_path_factory.mktemp("screenshots"))
