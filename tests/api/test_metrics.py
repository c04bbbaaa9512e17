"""What Prometheus reads: every metric is documented, well named and true."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobs.store.records import QUEUES, Ending, NewJob
from tests.stack import ROOT, Stack

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(stack: Stack) -> tuple[str, Samples]:
    """The text of `/metrics`, and the value of each sample."""
    answer = stack.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.text))
    return answer.text, {(s.name, frozenset(s.labels.items())): s.value for each in families for s in each.samples}


def value(samples: Samples, metric: str, **labels: str) -> float:
    return samples[metric, frozenset(labels.items())]


def test_jobs_are_counted_once(stack: Stack, done: dict[str, Any]) -> None:
    _, before = scraped(stack)
    stack.submit({"Prefer": "wait=30"}, steps=1)
    _, after = scraped(stack)
    probe = {"kind": "probe", "queue": "fast"}
    for metric in ("atelier_job_wait_seconds_count", "atelier_job_run_seconds_count"):
        assert value(after, metric, **probe) - value(before, metric, **probe) == 1
    assert value(after, "atelier_jobs_total", kind="probe", status="succeeded") >= 2
    run_s = value(after, "atelier_job_run_seconds_sum", **probe) - value(before, "atelier_job_run_seconds_sum", **probe)
    assert 0 < run_s < 10
    assert value(after, "atelier_batch_jobs_bucket", queue="fast", le="1") >= 2


def test_buckets_are_cumulative(stack: Stack, done: dict[str, Any]) -> None:
    _, samples = scraped(stack)
    series: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[float, float]]] = {}
    for (name, labels), count in samples.items():
        if name.endswith("_bucket"):
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            series.setdefault((name.removesuffix("_bucket"), rest), []).append((float(dict(labels)["le"]), count))
    assert {"atelier_job_wait_seconds", "atelier_job_run_seconds", "atelier_batch_jobs"} <= {name for name, _ in series}
    for (name, labels), buckets in series.items():
        in_order = [count for _, count in sorted(buckets)]
        assert in_order == sorted(in_order)
        assert sorted(buckets)[-1] == (float("inf"), samples[f"{name}_count", labels])


def test_a_failure_is_counted_by_its_code(stack: Stack) -> None:
    job_id, _ = stack.jobs.create(NewJob(kind="probe", queue="elsewhere", params={}))
    [job] = stack.jobs.claim("elsewhere", worker="test")
    _, running = scraped(stack)
    error = {"code": "not_finite", "message": "No.", "details": {}}
    stack.jobs.finish(job_id, job.fence, Ending("failed", {"run_ms": 1}, error=error))
    _, samples = scraped(stack)
    assert value(samples, "atelier_job_failures_total", kind="probe", code="not_finite") == 1
    assert value(running, "atelier_leases") >= 1


def test_the_service_is_described(stack: Stack, done: dict[str, Any]) -> None:
    stack.client.get("/nowhere/1")
    stack.client.get("/nowhere/2")
    text, samples = scraped(stack)
    assert value(samples, "atelier_redis_up") == value(samples, "atelier_workers") == 1
    assert value(samples, "atelier_upkeeps") == 1
    assert value(samples, "atelier_overdue_leases") == 0
    assert value(samples, "atelier_redis_memory_bytes") > 100_000
    for queue in QUEUES:
        assert value(samples, "atelier_queued_jobs", queue=queue) >= 0
        assert value(samples, "atelier_oldest_queued_seconds", queue=queue) >= 0
        assert value(samples, "atelier_queue_workers", queue=queue) == 1
        assert value(samples, "atelier_busy_children", queue=queue) in (0, 1)
    assert value(samples, "atelier_worker_children", worker="w1@test") == 1
    assert value(samples, "atelier_worker_frozen_children", worker="w1@test") == 0
    assert value(samples, "atelier_http_requests_total", method="GET", route="none", status="404") >= 2
    assert "nowhere" not in text and f"/v1/jobs/{done['id']}" not in text


def documented() -> dict[str, set[str]]:
    """The metrics of the reference page, each with its labels."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", page, flags=re.M)
    return {name: set(labels.replace(" ", "").split(",")) - {""} for name, _, labels in rows}


def test_the_reference_page_names_every_metric_and_its_labels(stack: Stack, done: dict[str, Any]) -> None:
    text, samples = scraped(stack)
    kinds = dict(re.findall(r"^# TYPE (atelier_\w+) (\w+)$", text, flags=re.M))
    exposed = {name for name in kinds if not name.endswith("_created")}
    assert exposed == documented().keys()
    for (name, labels), _ in samples.items():
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        if family in exposed:
            assert {label for label, _ in labels} - {"le"} == documented()[family], name


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_finds_no_fault(stack: Stack, done: dict[str, Any], tmp_path: Path) -> None:
    text = "".join(line for line in scraped(stack)[0].splitlines(True) if "atelier_" in line)
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stdout + checked.stderr
