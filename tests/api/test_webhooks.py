"""Webhooks over HTTP: registered, rotated, enabled and deleted; deliveries listed and replayed."""

from typing import Any

import pytest

from jobs.store.records import NewJob
from jobs.store.webhooks import EVENTS, MAX_ENDPOINTS
from tests.api.examples import examples
from tests.stack import Stack

[EXAMPLE] = [body for path, _, body in examples() if path == "/v1/webhooks"]
URL = "https://hooks.invalid/done"


@pytest.fixture
def stack(api_alone: Stack) -> Stack:
    for endpoint in api_alone.jobs.endpoints.all():
        api_alone.jobs.endpoints.delete(endpoint.id)
    return api_alone


def canceled(stack: Stack) -> str:
    """Ends a job with a `webhook_url`; returns its id."""
    job_id, _ = stack.jobs.create(NewJob("training", "train", {}, webhook_url=URL))
    stack.jobs.cancel(job_id)
    return job_id


def test_a_secret_is_shown_once_and_once_after_each_rotation(stack: Stack) -> None:
    made = stack.client.post("/v1/webhooks", json=EXAMPLE)
    assert made.status_code == 201 and made.json()["events"] == EXAMPLE["events"]
    path, secret = f"/v1/webhooks/{made.json()['id']}", made.json()["secret"]
    rotated = stack.client.post(f"{path}/rotate").json()
    assert rotated["secret"] != secret and {**rotated, "secret": secret} == made.json()
    listed = stack.client.get("/v1/webhooks")
    assert listed.json()["webhooks"] == [{name: made.json()[name] for name in made.json() if name != "secret"}]
    assert "whsec_" not in listed.text + stack.client.post(f"{path}/enable").text
    assert stack.client.delete(path).status_code == 204
    assert stack.client.delete(path).json()["error"]["code"] == "webhook_not_found"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://example.com/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://a.example:25/"}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["job.failed", "job.failed"]}, "events"),
        ({"url": URL, "events": ["job.started"]}, "events.0"),
        ({"url": URL, "secret": "whsec_mine"}, "secret"),
        ({}, "url"),
    ],
)
def test_what_cannot_be_registered(stack: Stack, body: dict[str, Any], field: str) -> None:
    answer = stack.client.post("/v1/webhooks", json=body)
    assert (answer.status_code, answer.json()["error"]["details"]["field"]) == (422, field), answer.text


def test_there_are_ten_at_most(stack: Stack) -> None:
    codes = [stack.client.post("/v1/webhooks", json={"url": URL}).status_code for _ in range(MAX_ENDPOINTS + 1)]
    assert codes == [201] * MAX_ENDPOINTS + [409]
    assert set(stack.client.get("/v1/webhooks").json()["webhooks"][0]["events"]) == set(EVENTS)


def test_deliveries_are_listed_and_replayed(stack: Stack) -> None:
    jobs = [canceled(stack) for _ in range(3)]
    page = stack.client.get("/v1/webhook-deliveries", params={"limit": 2}).json()
    assert [each["job"] for each in page["deliveries"]] == jobs[:0:-1]
    rest = stack.client.get(
        "/v1/webhook-deliveries", params={"cursor": page["next_cursor"], "status": "pending"}
    ).json()
    assert rest["deliveries"][0]["job"] == jobs[0]
    [claim] = [each for each in stack.jobs.deliveries.claim({}) if each.id == page["deliveries"][0]["id"]]
    stack.jobs.deliveries.called(claim, [{"at": 1, "status": 500, "error": None, "took_ms": 2}], "failed")
    [dead] = stack.client.get("/v1/webhook-deliveries", params={"status": "failed"}).json()["deliveries"]
    assert (dead["id"], dead["event"], dead["webhook"], dead["next_attempt_at"]) == (
        claim.id,
        "job.canceled",
        None,
        None,
    )
    assert dead["attempts"] == [{"at": "1970-01-01T00:00:00.001000Z", "status": 500, "error": None, "took_ms": 2}]
    replayed = stack.client.post(f"/v1/webhook-deliveries/{claim.id}/replay").json()
    assert replayed["status"] == "pending" and replayed["next_attempt_at"]
    of_job = stack.client.get("/v1/webhook-deliveries", params={"job": dead["job"], "status": "pending"}).json()
    assert [each["id"] for each in of_job["deliveries"]] == [claim.id]
    assert stack.client.delete(f"/v1/jobs/{dead['job']}").status_code == 204
    answer = stack.client.post(f"/v1/webhook-deliveries/{claim.id}/replay")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "delivery_not_found")
