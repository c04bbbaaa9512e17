"""The story of collections: upload a folder, follow the fit, look at everything, search, and make new images."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from models.data.smileys import smileys
from tests.stack import Stack, wait_until
from tests.studio.browser import Look, go

SMILEYS = {"name": "Smileys", "space": "vae-smileys", "data": "smileys", "limit": 80, "seed": 1}


@pytest.fixture(scope="module")
def collection(studio: Stack) -> str:
    """A collection of faces in the space of a VAE."""
    params = SMILEYS | {"clusterings": [{"method": "kmeans", "n_clusters": 4}]}
    made = studio.client.post("/v1/collections", json=params)
    return str(studio.finished(made.json()["id"], 120)["metrics"]["collection"])


def test_a_folder_becomes_a_collection(desktop: Page, tmp_path: Path, look: Look) -> None:
    drawn = smileys(24, seed=9).images
    for i, image in enumerate(drawn):
        folder = tmp_path / "faces" / ("even" if i % 2 == 0 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    go(desktop, "collections?space=pixels")
    look.at(desktop, "collections")
    desktop.get_by_label("Folder of images").set_input_files(tmp_path / "faces")
    expect(desktop.get_by_role("combobox", name="Data")).to_contain_text("24 files of faces")
    desktop.get_by_role("button", name="Collect").click()
    expect(desktop.get_by_role("heading", name="My images")).to_be_visible()
    desktop.get_by_label("Color by").select_option("label:even")
    expect(desktop.get_by_role("application")).to_have_accessible_name(
        "Map of My images, 24 points. Arrow keys move a cross, Enter chooses its place, plus and minus zoom."
    )
    desktop.get_by_role("button", name="Delete").click()
    desktop.get_by_role("button", name="Delete for good").click()
    expect(desktop.get_by_role("heading", name="New collection")).to_be_visible()


def test_every_part_of_a_collection_is_shown(desktop: Page, collection: str, look: Look) -> None:
    go(desktop, f"collections/{collection}")
    chosen = desktop.get_by_text("More like it")

    def choose() -> bool:
        desktop.get_by_role("application").press("Enter")
        return chosen.is_visible()

    wait_until(choose, 30, "the points of the map")  # a cross before they are there chooses nothing
    desktop.wait_for_timeout(500)
    look.both(desktop, "collection-map")
    desktop.get_by_text("More like it").click()
    expect(desktop.get_by_text("distance").first).to_be_visible()
    look.both(desktop, "collection-search")
    for part, sign in {"components": "on the map", "odd": "Most isolated", "plots": "explained variance"}.items():
        go(desktop, f"collections/{collection}/{part}")
        expect(desktop.get_by_text(sign).first).to_be_visible()
        desktop.wait_for_timeout(400)
        look.both(desktop, f"collection-{part}")


def test_a_cluster_is_named_sampled_and_animated(phone: Page, collection: str, look: Look) -> None:
    go(phone, f"collections/{collection}/clusters")
    card, name = phone.locator("article").first, "The friendly ones"
    card.get_by_label("Name").fill(name)
    card.get_by_label("Name").press("Tab")
    expect(phone.get_by_role("heading", name=name)).to_be_visible()
    card.get_by_role("button", name="New images").click()
    expect(phone.get_by_alt_text("New image 8")).to_be_visible()
    look.both(phone, "collection-clusters")
    card.get_by_role("button", name="Animate").click()
    expect(phone.get_by_alt_text("Animation around the cluster")).to_be_visible()
    other = phone.context.new_page()  # of another person: nothing of it is kept in the browser
    assert phone.evaluate("Object.keys(localStorage).filter(each => each.includes('clusters'))") == []
    go(other, f"collections/{collection}")
    expect(other.get_by_role("list", name="Colors")).to_contain_text(name)


def test_a_search_that_the_space_cannot_do_says_so(desktop: Page, collection: str) -> None:
    go(desktop, f"collections/{collection}/search")
    desktop.get_by_label("Like a text").fill("a smile")
    desktop.get_by_role("button", name="Search").click()
    expect(desktop.get_by_role("alert")).to_contain_text("does not embed texts")
