"""The story of generations: words, a grid to continue from, latent codes, denoising, and glasses on and off."""

import re

from playwright.sync_api import Page, expect

from tests.studio.browser import Look, go

# Moves the first slider 300 times at once, and ends at 2.
DRAG = """() => {
    const slider = document.querySelector('.sliders input')
    for (let i = 0; i < 300; i++) {
        slider.value = i < 299 ? (i % 2) - 1 : 2
        slider.dispatchEvent(new Event('input', { bubbles: true }))
    }
}"""


def test_words_make_images_to_continue_from(phone: Page, look: Look) -> None:
    go(phone, "generate?n=2&seed=1")
    for word in ("a woman", "smiling", "with glasses", "with a red hat"):
        phone.get_by_role("button", name=word, exact=True).click()
    expect(phone.get_by_role("textbox", name="Prompt").first).to_have_value(
        "a smiling woman with glasses and a red hat"
    )
    phone.get_by_role("button", name="Generate", exact=True).click()
    phone.get_by_role("button", name="Image 2").click()
    phone.get_by_text("Mark a box without a pointer").click()
    phone.get_by_role("button", name="Mark this box").click()
    look.both(phone, "generate-inpaint")
    phone.evaluate("scrollTo(0, 0)")
    look.both(phone, "generate", docs="studio-generate")
    phone.get_by_role("textbox", name="Prompt").last.fill("a woman with a yellow hat")
    job = phone.url
    phone.get_by_role("button", name="Inpaint").click()
    expect(phone).not_to_have_url(job)
    expect(phone.get_by_role("button", name="Image 4")).to_be_visible()
    phone.get_by_role("button", name="Image 1").click()
    phone.get_by_role("button", name="Send to Style").click()
    expect(phone.get_by_alt_text("Photo, as chosen")).to_be_visible()


def test_a_brush_and_variations(desktop: Page) -> None:
    go(desktop, "generate?n=1&seed=1&prompt=a woman")
    desktop.get_by_role("button", name="Generate", exact=True).click()
    desktop.get_by_role("button", name="Image 1").click()
    canvas = desktop.locator(".brush canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    desktop.mouse.move(box["x"] + 40, box["y"] + 40)
    desktop.mouse.down()
    desktop.mouse.move(box["x"] + 160, box["y"] + 60, steps=5)
    desktop.mouse.up()
    expect(desktop.get_by_role("button", name="Inpaint")).to_be_enabled()
    desktop.get_by_role("button", name="Upscale").click()
    expect(desktop.get_by_alt_text("Image 1")).to_have_js_property("naturalWidth", 512)


def test_a_manifold_is_walked(phone: Page, look: Look) -> None:
    go(phone, "generate/latent?model=vae-digits-2")
    image = phone.get_by_alt_text("Image of this latent code")
    expect(image).to_be_visible()
    manifold = phone.get_by_role("application")
    expect(manifold.locator("img")).to_have_count(121)
    look.both(phone, "generate-latent")
    before = image.get_attribute("src")
    manifold.press("ArrowRight")
    expect(image).not_to_have_attribute("src", before or "")
    phone.get_by_role("slider").first.press("ArrowRight")
    expect(phone).to_have_url(re.compile("z="))
    phone.evaluate(DRAG)  # browsers take 200 changes of the address in some seconds
    expect(phone).to_have_url(re.compile("z=2.00"))


def test_denoising_is_a_film_strip(desktop: Page, look: Look) -> None:
    go(desktop, "generate/denoise?model=ddpm-digits&steps=8&shown=4")
    desktop.get_by_role("button", name="Denoise", exact=True).click()
    expect(desktop.get_by_alt_text("What is predicted at step 4 of 4")).to_be_visible()
    desktop.get_by_role("slider").press("ArrowLeft")
    expect(desktop.get_by_alt_text("What is predicted at step 3 of 4")).to_be_visible()
    look.both(desktop, "generate-denoise")


def test_glasses_are_put_on_and_taken_off(phone: Page, look: Look) -> None:
    go(phone, "generate/glasses")
    phone.get_by_role("button", name="A drawn face").click()
    phone.get_by_role("button", name="glasses", exact=True).click()
    expect(phone.get_by_alt_text("Face: after")).to_be_visible()
    look.both(phone, "generate-glasses")
    phone.get_by_role("button", name="Continue from this face").click()
    phone.get_by_role("button", name="no glasses").click()
    expect(phone.get_by_alt_text("Face: after")).to_be_visible()
