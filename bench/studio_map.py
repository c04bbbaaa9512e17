"""Measures the Studio's map of a large collection in a real browser: `python -m bench.studio_map [--members 100000]`.

Uploads random clustered vectors, makes a collection of them, and prints the seconds from the click on it to drawn
points, the time of a frame while zooming and panning, and the work of the page's main thread for it. Aims: less than
3 s, and 30 frames a second. The fit takes minutes.
"""

import argparse
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from playwright.sync_api import CDPSession, Page, sync_playwright

from tests.stack import Stack
from tests.studio.browser import SIZES, browser_path, go

DIM, CLUSTERS, SPREAD = 16, 12, 4.0
FIT_S = 7200
OPENED_S, FRAME_MS = 3.0, 1000 / 30
STEPS = 120  # of the wheel or the mouse
# From the click until the canvas has a point near its middle.
OPEN = """async (name) => {
    const link = [...document.querySelectorAll('.card a')].find(each => each.textContent === name)
    const started = performance.now()
    link.click()
    for (;;) {
        await new Promise(requestAnimationFrame)
        const canvas = document.querySelector('.scatter canvas')
        const [x, y, side] = canvas ? [canvas.width / 4, canvas.height / 4, canvas.width / 2] : [0, 0, 0]
        const seen = side && canvas.getContext('2d').getImageData(x, y, side, side).data.some(Boolean)
        if (seen) return performance.now() - started
    }
}"""
# Counts the drawings of the map, and keeps the times of frames until `stopped` returns both.
RECORD = """() => {
    const [times, prototype] = [[], CanvasRenderingContext2D.prototype]
    const put = prototype.putImageData
    let drawn = 0
    let going = true
    prototype.putImageData = function (...args) { drawn++; return put.apply(this, args) }
    const tick = (now) => { times.push(now); if (going) requestAnimationFrame(tick) }
    requestAnimationFrame(tick)
    window.stopped = () => {
        going = false
        prototype.putImageData = put
        return { drawn, times: times.slice(1).map((time, i) => time - times[i]) }
    }
}"""


def main() -> None:
    """Prints the size of the columns, seconds and frame times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=100_000)
    members: int = parser.parse_args().members
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder), OMP_NUM_THREADS="2", ATELIER_LEASE_S="30")  # as an installation has
        try:
            stack.start_all()
            collection_id = collection_of(stack, members)
            measure(stack, collection_id, members)
        finally:
            stack.stop()


def collection_of(stack: Stack, members: int) -> str:
    """Makes a collection of vectors around a few centers; returns its id."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLUSTERS, members)
    vectors = SPREAD * rng.normal(size=(CLUSTERS, DIM))[labels] + rng.normal(size=(members, DIM))
    file = BytesIO()
    np.savez(file, vectors=vectors.astype(np.float32), labels=np.array([f"group {each}" for each in labels]))
    upload = stack.client.post("/v1/archives", files={"file": file.getvalue()}, timeout=120)
    params = {"name": "Large", "space": "random", "vectors": upload.json()["id"], "maps": ["umap"], "seed": 1}
    params |= {"n_components": DIM, "clusterings": [{"method": "kmeans", "n_clusters": CLUSTERS}]}
    started = time.perf_counter()
    job = stack.finished(stack.client.post("/v1/collections", json=params).json()["id"], FIT_S)
    assert job["status"] == "succeeded", job["error"]
    print(f"{members:,} members, fitted in {time.perf_counter() - started:.0f} s", flush=True)
    return str(job["metrics"]["collection"])


def measure(stack: Stack, collection_id: str, members: int) -> None:
    """Opens the map, first with nothing in the memory of the API, and zooms."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        width, height = SIZES["desktop"]
        for turn in ("first", "again"):
            context = browser.new_context(base_url=stack.url, viewport={"width": width, "height": height})
            page = context.new_page()
            print_opening(page, turn)
            print_frames(page, collection_id, members)
            context.close()
        browser.close()
    path = f"/v1/collections/{collection_id}/columns"
    some = ("maps", "clusters", "outlier_scores", "names", "attributes", "thumbnails")
    for what, columns in (("what the map shows", some), ("all columns", ())):
        started = time.perf_counter()
        size = len(stack.client.get(path, params={"columns": columns}).content)
        print(f"{what}: {size / 1e6:.1f} MB in {time.perf_counter() - started:.2f} s")


def print_opening(page: Page, turn: str) -> None:
    """Prints the seconds from the click on the collection to drawn points."""
    go(page, "collections")
    page.locator(".card a", has_text="Large").wait_for()
    seconds = page.evaluate(OPEN, "Large") / 1000
    print(f"{turn}: {seconds:.2f} s from the click to drawn points (aim: {OPENED_S:g} s)")


def print_frames(page: Page, collection_id: str, members: int) -> None:
    """Prints the times of frames while the wheel zooms and the mouse pans, of a page whose canvas was not read."""
    page.reload()
    go(page, f"collections/{collection_id}")
    canvas = page.get_by_role("application", name=f"{members} points")
    canvas.wait_for()
    page.wait_for_timeout(2000)
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def zoom() -> None:
        for step in range(STEPS):
            page.mouse.wheel(0, -30 if step < STEPS / 2 else 30)

    def pan() -> None:
        page.mouse.down()
        page.mouse.move(x + 100, y + 80, steps=STEPS // 2)
        page.mouse.move(x, y, steps=STEPS // 2)
        page.mouse.up()

    page.mouse.move(x, y)
    print_motion(page, "zooming", zoom)
    print_motion(page, "panning", pan)


def print_motion(page: Page, what: str, move: Callable[[], None]) -> None:
    """Prints the times of frames during a movement, and the work of the page's main thread for each drawing."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.evaluate(RECORD)
    before = seconds_of(session)
    move()
    script, tasks = (after - start for after, start in zip(seconds_of(session), before, strict=True))
    recorded: dict[str, Any] = page.evaluate("stopped()")
    session.detach()
    times, drawn = np.array(recorded["times"]), recorded["drawn"]
    median, slow = np.median(times), np.percentile(times, 95)
    print(f"{what}: a frame in {median:.1f} ms, {1000 / median:.0f} a second; 95 % within {slow:.1f} ms", end=" ")
    print(f"(aim: {FRAME_MS:.0f} ms); {drawn} drawings, each", end=" ")
    print(f"{1000 * script / drawn:.1f} ms of scripts and {1000 * tasks / drawn:.1f} ms of the main thread", flush=True)


def seconds_of(session: CDPSession) -> tuple[float, float]:
    """The seconds that scripts and all tasks have taken of the page's main thread."""
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return metrics["ScriptDuration"], metrics["TaskDuration"]


if __name__ == "__main__":
    main()
