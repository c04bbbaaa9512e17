"""The story of the Style view: drop a photo, choose a style, compare, download, copy the request."""

import json
import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from tests.stack import ROOT, Stack, wait_until
from tests.studio.browser import Look, go

PHOTO = ROOT / "examples" / "photos" / "coffee.jpg"


def test_two_clicks_paint_a_photo(page: Page, look: Look, studio: Stack, tmp_path: Path) -> None:
    go(page, "style")
    look.at(page, "style-empty")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Drop a photo here").click()
    chooser.value.set_files(PHOTO)
    expect(page.get_by_alt_text("Photo, as chosen")).to_be_visible()
    page.get_by_role("button", name="starry blue").click()
    after = page.get_by_alt_text("Painted photo: after")
    expect(after).to_be_visible()
    assert after.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [512, 341]
    look.at(page, "style", docs="studio-style")

    slider = page.get_by_role("slider", name="Share of the image before")
    before = slider.input_value()
    slider.press("ArrowRight")
    assert float(slider.input_value()) == float(before) + 1
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "painted.png")
    assert Image.open(tmp_path / "painted.png").size == (512, 341)

    page.get_by_text("Copy this request").click()
    page.get_by_role("button", name="JSON").click()
    copied = json.loads(page.locator(".request pre").inner_text())
    assert studio.client.post("/v1/style-transfers", json=copied).status_code == 202
    page.get_by_role("button", name="Python").click()
    code = page.locator(".request pre").inner_text().splitlines()
    assert code[3].startswith("job = atelier.style_transfer(") and compile("\n".join(code), "copied", "exec")

    page.reload()  # the address holds all of it
    expect(after).to_be_visible()


def test_two_styles_are_mixed(phone: Page, look: Look, studio: Stack) -> None:
    go(phone, "style?size=256")
    phone.get_by_role("button", name="starry blue").click()
    after = phone.get_by_alt_text("Painted photo: after")
    expect(after).to_be_visible()
    first = after.get_attribute("src") or ""
    phone.get_by_role("button", name="Mix with another style").click()
    phone.get_by_role("button", name="neon shards").click()
    expect(phone.get_by_text("starry blue 50 %")).to_be_visible()
    expect(after).not_to_have_attribute("src", first)
    phone.get_by_role("slider", name="Share of the second style").press("ArrowRight")
    expect(phone.get_by_text("55 % neon shards")).to_be_visible()
    expect(phone).to_have_url(re.compile("mix=0.55"))
    job_id = re.findall(r"job_[0-9a-f]{24}", phone.url)[0]
    wait_until(lambda: weights(studio) == [0.45, 0.55], 30, "the mix of the slider")
    look.both(phone, "style-mix")
    phone.get_by_role("button", name="Only starry blue").click()
    expect(phone).not_to_have_url(re.compile("second=|" + job_id))


def weights(studio: Stack) -> list[float]:
    """The weights of the styles of the newest job."""
    [job] = studio.client.get("/v1/jobs", params={"limit": 1}).json()["jobs"]
    style = job["params"]["style"]
    return [each["weight"] for each in style] if isinstance(style, list) else []


def test_an_own_image_paints_slowly_with_previews(desktop: Page, look: Look) -> None:
    go(desktop, "style?method=gatys&size=256&steps=20")
    desktop.get_by_role("button", name="Cat, a sample").click()
    expect(desktop.get_by_alt_text("Photo, as chosen")).to_be_visible()
    desktop.get_by_role("button", name="Your own").click()
    desktop.get_by_label("Style image: file").set_input_files(ROOT / "examples" / "photos" / "strokes.jpg")
    expect(desktop.get_by_role("button", name="Image 1")).to_have_attribute("aria-pressed", "true")
    desktop.get_by_role("button", name="Paint", exact=True).click()
    expect(desktop.get_by_alt_text("Preview of the running job")).to_be_visible()
    look.at(desktop, "style-running")
    expect(desktop.get_by_alt_text("Painted photo: after")).to_be_visible()


def test_the_keyboard_alone_paints(desktop: Page) -> None:
    go(desktop, "style?size=256")
    tile = desktop.get_by_role("button", name="bold yellow")
    for _ in range(40):
        desktop.keyboard.press("Tab")
        if tile.evaluate("each => each === document.activeElement"):
            break
    desktop.keyboard.press("Enter")
    expect(desktop.get_by_role("status").filter(has_text="sample photo")).to_be_visible()  # for some seconds
    expect(desktop.get_by_alt_text("Painted photo: after")).to_be_visible()
