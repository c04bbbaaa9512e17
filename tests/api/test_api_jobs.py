"""Jobs and their events from a user's side: real Valkey and a real worker."""

import json
from collections.abc import Iterator
from typing import Any

import httpx

from jobs.store.records import NewJob
from tests.api.conftest import FAST, WAIT
from tests.api.probes import running
from tests.stack import Stack


class TestJobs:
    def test_retry_gives_the_same_bytes(self, stack: Stack, done: dict[str, Any]) -> None:
        answer = stack.client.post(f"/v1/jobs/{done['id']}/retry", headers=WAIT)
        again = answer.json()
        assert (answer.status_code, again["status"], again["retry_of"]) == (200, "succeeded", done["id"])
        assert again["id"] != done["id"]
        assert again["params"] == done["params"]
        assert again["outputs"][0]["sha256"] == done["outputs"][0]["sha256"]

    def test_retry_keeps_the_webhook(self, stack: Stack) -> None:
        hook = "https://hooks.invalid/atelier"
        params = {"steps": 1, "step_s": 0, "seed": 1, "format": "png"}
        first, _ = stack.jobs.create(NewJob(kind="probe", queue="fast", params=params, webhook_url=hook))
        stack.jobs.cancel(first)
        again = stack.client.post(f"/v1/jobs/{first}/retry").json()["id"]
        assert stack.jobs.get(again).webhook_url == hook

    def test_retry_with_a_key_makes_one_job(self, stack: Stack, done: dict[str, Any]) -> None:
        answers = [
            stack.client.post(f"/v1/jobs/{done['id']}/retry", headers={"Idempotency-Key": "again"}) for _ in range(3)
        ]
        assert len({answer.json()["id"] for answer in answers}) == 1

    def test_cancel_is_idempotent(self, stack: Stack, done: dict[str, Any]) -> None:
        job_id = running(stack)
        answers = [stack.client.post(f"/v1/jobs/{job_id}/cancel") for _ in range(3)]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["status"] for answer in answers} <= {"canceling", "canceled"}
        assert stack.finished(job_id)["status"] == "canceled"
        assert stack.client.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "canceled"
        finished = stack.client.post(f"/v1/jobs/{done['id']}/cancel")
        assert (finished.status_code, finished.json()["status"]) == (200, "succeeded")

    def test_unfinished_is_neither_deleted_nor_retried(self, stack: Stack) -> None:
        job_id = running(stack)
        for answer in (stack.client.delete(f"/v1/jobs/{job_id}"), stack.client.post(f"/v1/jobs/{job_id}/retry")):
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job_not_finished")
        stack.client.post(f"/v1/jobs/{job_id}/cancel")
        stack.finished(job_id)

    def test_delete(self, stack: Stack) -> None:
        job = stack.submit(WAIT)
        answer = stack.client.delete(job["urls"]["self"])
        assert (answer.status_code, answer.content) == (204, b"")
        for gone in (
            stack.client.get(job["urls"]["self"]),
            stack.client.delete(job["urls"]["self"]),
            stack.client.get(job["outputs"][0]["url"]),
            stack.client.post(job["urls"]["cancel"]),
        ):
            assert (gone.status_code, gone.json()["error"]["code"]) == (404, "job_not_found")

    def test_list_in_pages(self, stack: Stack) -> None:
        made = [stack.submit(WAIT)["id"] for _ in range(5)]
        listed: list[str] = []
        cursor: str | None = None
        while len(listed) < 5:
            query = {"limit": "2", "status": "succeeded"} | ({"cursor": cursor} if cursor else {})
            page = stack.client.get("/v1/jobs", params=query).json()
            assert len(page["jobs"]) == 2
            listed += [job["id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
        assert listed[:5] == made[::-1]

    def test_list_filters(self, stack: Stack, done: dict[str, Any]) -> None:
        transfer = stack.client.post("/v1/style-transfers", json=FAST, headers=WAIT).json()

        def ids(**query: str) -> list[str]:
            return [job["id"] for job in stack.client.get("/v1/jobs", params={"limit": "100"} | query).json()["jobs"]]

        assert transfer["id"] in ids(kind="style-transfer")
        assert done["id"] not in ids(kind="style-transfer")
        assert {transfer["id"], done["id"]} <= set(ids(status="succeeded"))
        assert transfer["id"] in ids(kind="style-transfer", status="succeeded")
        assert ids(kind="style-transfer", status="failed") == []
        assert ids(cursor=min(ids())) == []


def events(answer: httpx.Response) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    """Parses (id, type, data) of each event of a stream."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields.get("id"), fields["event"], json.loads(fields["data"])
            fields = {}


def follow(stack: Stack, job_id: str, **headers: str) -> list[tuple[str | None, str, dict[str, Any]]]:
    with stack.client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        return list(events(answer))


class TestEvents:
    def test_from_the_start_to_the_end(self, stack: Stack) -> None:
        job = stack.submit(steps=20, step_s=0.1, seed=3)
        seen = follow(stack, job["id"])
        assert seen[0][1] == "snapshot"
        assert seen[0][2]["id"] == job["id"]
        assert seen[-1][1:] == ("status", {"status": "succeeded", "attempt": 1, "error": None})
        kinds = [kind for _, kind, _ in seen]
        assert kinds.count("snapshot") == 1
        assert {"progress", "preview", "output"} <= set(kinds)
        steps = [data["step"] for _, kind, data in seen if kind == "progress"]
        assert steps == sorted(steps)
        output = next(data for _, kind, data in seen if kind == "output")
        assert output == stack.job(job["id"])["outputs"][0]
        shown = next(data for _, kind, data in seen if kind == "preview")
        preview = stack.client.get(shown["preview_url"])
        assert (preview.status_code, preview.headers["content-type"]) == (200, "image/jpeg")

        middle = len(seen) // 2
        resumed = follow(stack, job["id"], **{"Last-Event-ID": str(seen[middle][0])})
        assert resumed == seen[middle + 1 :]
        over = stack.client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": str(seen[-1][0])})
        assert (over.status_code, over.content) == (204, b"")

    def test_of_a_finished_job(self, stack: Stack, done: dict[str, Any]) -> None:
        seen = follow(stack, done["id"])
        assert [kind for _, kind, _ in seen] == ["snapshot", "status"]
        assert seen[0][2]["outputs"] == done["outputs"]

    def test_id_from_the_future_gets_a_snapshot(self, stack: Stack) -> None:
        """Waiting for what comes after it would outlast the job."""
        job_id = stack.submit(steps=5, step_s=0.1)["id"]
        seen = follow(stack, job_id, **{"Last-Event-ID": "999999999999999-0"})
        assert (seen[0][1], seen[-1][2]["status"]) == ("snapshot", "succeeded")

    def test_no_preview_yet(self, stack: Stack) -> None:
        slow = running(stack)
        queued = stack.submit()
        answer = stack.client.get(f"/v1/jobs/{queued['id']}/preview")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "preview_not_found")
        stack.client.post(f"/v1/jobs/{slow}/cancel")
        stack.finished(queued["id"])
