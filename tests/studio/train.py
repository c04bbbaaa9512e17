"""The stories of trainings, of comparing techniques, and of models."""

import re

from playwright.sync_api import Page, expect

from tests.stack import Stack, wait_until
from tests.studio.browser import Look, go

FROM_THE_FIRST = "line => line.points[0].x < 90"  # of 440


def test_a_training_is_watched_finished_and_used(page: Page, studio: Stack, look: Look) -> None:
    go(page, "train?steps=5000")
    look.at(page, "train-empty")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("img", name="Losses up to step")).to_be_visible()
    expect(page.get_by_alt_text("Samples at step")).to_be_visible()
    look.at(page, "train-running")
    page.reload()
    line = page.locator(".chart polyline").first
    expect(line).to_be_attached()
    wait_until(lambda: line.evaluate(FROM_THE_FIRST), 2, "the curve from the first step")
    page.get_by_role("button", name="Finish now").click()
    expect(page.get_by_text("The model is ready.")).to_be_visible()
    expect(page.get_by_alt_text("Samples of the model")).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    look.at(page, "train", docs="studio-train")
    page.get_by_role("link", name="Use this model").click()
    expect(page.get_by_alt_text("Image of this latent code")).to_be_visible()
    expect(page).to_have_url(re.compile("model=vae-"))


def test_techniques_are_compared(phone: Page, look: Look) -> None:
    go(phone, "compare/photo?off=gatys,gatys-swd")
    phone.get_by_role("button", name="Coffee, a sample").click()
    phone.get_by_role("button", name="Brush strokes, a sample").click()
    phone.get_by_role("button", name="Run 2 side by side").click()
    expect(phone.get_by_alt_text("Result of Fast, one pass")).to_be_visible()
    expect(phone.get_by_alt_text("Result of Fast, colors of the photo")).to_be_visible()
    expect(phone.get_by_text("Time")).to_have_count(2)
    look.both(phone, "compare")


def test_models_of_one_set_are_compared(desktop: Page, look: Look) -> None:
    off = ",".join(
        [*(f"{kind}-fashion-mnist-{dim}" for kind in ("vae", "gan") for dim in (2, 4)), "ddpm-fashion-mnist"]
    )
    go(desktop, f"compare/sets?set=fashion-mnist&off={off}")
    desktop.get_by_role("button", name="Run 2 side by side").click()
    expect(
        desktop.get_by_alt_text("Result of Variational autoencoder on fashion-mnist (vae-fashion-mnist-8)")
    ).to_be_visible()
    expect(
        desktop.get_by_alt_text("Result of Generative adversarial network on fashion-mnist (gan-fashion-mnist-8)")
    ).to_be_visible()
    look.at(desktop, "compare-sets", docs="studio-compare")


def test_models_have_licenses_and_figures(phone: Page, look: Look) -> None:
    go(phone, "models")
    card = phone.locator("article").filter(has_text="vae-smileys")
    expect(card).to_contain_text("MIT")
    expect(card).to_contain_text("Reconstruction error (MSE)")
    expect(phone.locator("article").filter(has_text="cyclegan-avatars-glasses")).to_contain_text("no glasses → glasses")
    look.both(phone, "models")
    phone.get_by_label("Search").fill("realesr")
    expect(phone.locator("article")).to_have_count(3)
    phone.get_by_label("Search").fill("nothing like this")
    expect(phone.get_by_text("No model matches")).to_be_visible()
