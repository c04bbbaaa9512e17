"""The story of the Jobs view: what waits, runs and failed; cancel, retry; more than a page shows."""

import pytest
from playwright.sync_api import Page, expect

from jobs.store.records import Ending, NewJob
from tests.stack import ROOT, Stack
from tests.studio.browser import Look, go

PHOTO = ROOT / "examples" / "photos" / "coffee.jpg"
PARAMS = {
    "content": "img_" + "0" * 64,
    "style": "builtin:1",
    "method": "fast",
    "mode": "transfer",
    "size": 64,
    "seed": 1,
}
WHY = {"code": "out_of_memory", "message": "The image does not fit into memory at 2048; 1024 would.", "details": {}}


def fail(studio: Stack) -> str:
    """A job that failed."""
    photo = studio.client.post("/v1/images", files={"file": PHOTO.read_bytes()}).json()["id"]
    params = PARAMS | {"content": photo}
    job_id, _ = studio.jobs.create(NewJob("style-transfer", "fast", params, images=[photo.removeprefix("img_")]))
    [record] = studio.jobs.claim("fast", worker="nobody")
    studio.jobs.finish(job_id, record.fence, Ending("failed", {}, error=WHY))
    return job_id


def test_a_running_job_is_followed_and_canceled(phone: Page, studio: Stack, look: Look) -> None:
    made = studio.submit(steps=400, step_s=0.1)
    go(phone, "jobs")
    row = phone.get_by_role("row").filter(has_text="probing")
    expect(row.get_by_role("progressbar")).to_be_visible()
    look.both(phone, "jobs-running")
    row.get_by_role("link").click()
    expect(phone.get_by_alt_text("Preview of the running job")).to_be_visible()
    phone.get_by_role("button", name="Cancel").click()
    expect(phone.get_by_text("Canceled.")).to_be_visible()
    assert studio.finished(made["id"])["status"] == "canceled"
    look.both(phone, "job-canceled")


def test_a_failed_job_says_why_and_runs_again(desktop: Page, studio: Stack, look: Look) -> None:
    job_id = fail(studio)
    go(desktop, f"jobs/{job_id}")
    expect(desktop.get_by_role("alert")).to_contain_text(
        "does not fit into memory at 2048; 1024 would. Choose a smaller"
    )
    look.both(desktop, "job-failed")
    desktop.get_by_role("button", name="Try again").click()
    expect(desktop.get_by_role("link", name=job_id)).to_be_visible()  # which it repeats
    desktop.get_by_role("button", name="Delete").click()
    expect(desktop.get_by_role("table")).to_be_visible()


@pytest.fixture(scope="module")
def many(studio: Stack) -> None:
    """Four pages of jobs, canceled before they ran."""
    store = studio.jobs
    for _ in range(200):
        job_id, _ = store.create(NewJob("style-transfer", "fast", PARAMS))
        store.cancel(job_id)


@pytest.mark.usefixtures("many")
def test_many_jobs_are_listed(phone: Page, look: Look) -> None:
    go(phone, "jobs?status=canceled")
    rows = phone.locator("tbody tr")
    expect(rows).to_have_count(50)
    look.at(phone, "jobs-many")
    for shown in (100, 150):
        phone.get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(shown)
    with phone.expect_response(lambda response: "/v1/jobs?" in response.url and "cursor" not in response.url):
        pass  # the newest jobs, which are loaded again meanwhile
    phone.wait_for_timeout(200)
    expect(rows).to_have_count(150)
