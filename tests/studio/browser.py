"""A real browser for the tests of the Studio: pages, what every view must hold, and screenshots."""

import os
import shutil
from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from tests.stack import wait_until

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
SIZES = {"desktop": (1360, 860), "phone": (390, 844)}
COLORS: dict[str, Literal["light", "dark"]] = {"desktop": "light", "phone": "dark"}
NAMES = ("chromium", "chromium-browser", "google-chrome")
STILL = """() => document.getAnimations().every(
    each => each.playState !== "running" || each.effect.getTiming().iterations === Infinity)"""
# Rows beyond the window are not rendered, and have the colors from before a change of the scheme.
RENDERED = "document.querySelectorAll('.jobs tr').forEach(row => { row.style.contentVisibility = 'visible' })"
QUALITY = 82  # of the screenshots in the docs


def browser_path() -> str | None:
    """The browser to test with: `ATELIER_CHROMIUM`, or that of the system."""
    return os.environ.get("ATELIER_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Look:
    """Checks what every view must hold and takes screenshots.

    They are written to `ATELIER_STUDIO_ARTIFACTS`, and with `ATELIER_STUDIO_DOCS=1` those of the docs to docs/images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.environ.get("ATELIER_STUDIO_ARTIFACTS") or folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.axe = Axe()

    def both(self, page: Page, name: str, docs: str = "") -> None:
        """Looks at the view as it stands on the desktop and on a phone, and leaves it at its size."""
        own = size_of(page)
        for size in sorted(SIZES, key=lambda size: size == own):  # its own comes last
            resize(page, size)
            self.at(page, name, docs)

    def at(self, page: Page, name: str, docs: str = "") -> None:
        """No finding of axe, nothing beyond the sides, and a screenshot, which the docs show as `docs`."""
        size = size_of(page)
        wait_until(lambda: page.evaluate(STILL), 10, "the end of animations")
        page.screenshot(path=self.folder / f"{name}-{size}.png")
        beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert beyond <= 0, f"{name} is {beyond} pixels wider than the {size}"
        page.evaluate(RENDERED)
        results = self.axe.run(page)
        assert results.violations_count == 0, f"{name} on the {size}: {results.generate_report()}"
        if docs and size == "desktop" and os.environ.get("ATELIER_STUDIO_DOCS"):
            Image.open(self.folder / f"{name}-{size}.png").convert("RGB").save(
                IMAGES / f"{docs}.jpg", quality=QUALITY, optimize=True
            )


def size_of(page: Page) -> str:
    """Which of the sizes the page has."""
    assert page.viewport_size is not None
    width = page.viewport_size["width"]
    return next(size for size, sides in SIZES.items() if sides[0] == width)


def resize(page: Page, size: str) -> None:
    """Gives the page a size and its colors."""
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=COLORS[size])


def go(page: Page, where: str) -> None:
    """Opens a view by its address and waits for its heading."""
    page.goto(f"/#/{where}")
    expect(page.locator("main h1")).to_be_visible()
