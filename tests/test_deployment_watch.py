"""Checks that the dashboard, the alerts and their runbook name what exists."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment import COMPOSE, SERVICES
from tests.stack import ROOT
from tests.test_docs import anchors, codes_in_the_code, table_rows

WATCH = ROOT / "docker" / "watch"
RUNBOOK = ROOT / "docs" / "how-to" / "respond-to-alerts.md"
DASHBOARD = json.loads((WATCH / "dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((WATCH / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
EXPRESSIONS = [rule["expr"] for rule in RULES]
EXPRESSIONS += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
SCRAPED = {"job", "instance", "le"}  # labels that every metric has, and that of buckets


def documented() -> dict[str, set[str]]:
    """The metrics of the reference page, which tests/api/test_metrics.py compares with `/metrics`, and their labels."""
    rows = table_rows("reference/metrics.md", "Metrics of the service")
    return {name.strip("`"): {*filter(None, labels.split(", "))} for name, _, labels, _ in rows}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_exist(expression: str) -> None:
    metrics = documented()
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\batelier_\w+", expression)}
    named = {name for name in named if name not in metrics} | named & metrics.keys()
    assert named <= metrics.keys() and (named or "up{" in expression)
    labels = {each.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for each in group.split(",")}
    labels |= set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression))
    assert labels <= SCRAPED.union(*(metrics[name] for name in named))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_figures_of_the_service_are_taken_once(expression: str) -> None:
    """Each API process returns them: a sum over instances would count them several times."""
    for metric in re.finditer(r"\batelier_\w+", expression):
        taken = re.search(r"(\w+)(?: by \([^)]*\))? ?\((?:rate\(|increase\()?$", expression[: metric.start()])
        assert taken and taken[1] == ("sum" if metric[0].startswith("atelier_http_") else "max"), metric[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_has_an_entry_in_the_runbook(rule: dict[str, Any]) -> None:
    assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert ROOT / path == RUNBOOK
    assert anchor == rule["alert"].lower() and anchor in anchors(RUNBOOK)
    assert rule["annotations"]["summary"].endswith(".")


def test_the_runbook_has_no_other_entry() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOK.read_text(), flags=re.M) == [rule["alert"] for rule in RULES]


def test_the_alerts_name_error_codes_that_exist() -> None:
    codes = {code for group in re.findall(r'code=~"([^"]*)"', "".join(EXPRESSIONS)) for code in group.split("|")}
    assert codes and codes <= codes_in_the_code()


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) == 23
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_the_dashboard_reads_the_provisioned_source() -> None:
    [source] = yaml.safe_load((WATCH / "datasources.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090" and "prometheus" in SERVICES


def test_compose_mounts_every_file_where_it_is_read() -> None:
    mounted = {
        each["source"]: each["target"] for name in ("prometheus", "grafana") for each in SERVICES[name]["configs"]
    }
    files = {name: ROOT / config["file"] for name, config in COMPOSE["configs"].items()}
    assert mounted.keys() == files.keys() and sorted(files.values()) == sorted(WATCH.iterdir())
    prometheus = yaml.safe_load(files["prometheus"].read_text())
    assert prometheus["rule_files"] == [mounted["alerts"]]
    assert f"--config.file={mounted['prometheus']}" in SERVICES["prometheus"]["command"]
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == ["api:8000"]
    [provider] = yaml.safe_load(files["dashboards"].read_text())["providers"]
    assert Path(mounted["dashboard"]).parent == Path(provider["options"]["path"])
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == mounted["dashboard"]


def test_only_the_profile_watch_starts_them() -> None:
    watching = {name for name, service in SERVICES.items() if "watch" in service.get("profiles", [])}
    assert watching == {"prometheus", "grafana"}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_accepts_the_rules() -> None:
    command = ["promtool", "check", "rules", "--lint-fatal", str(WATCH / "alerts.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def series(metric: str, value: float) -> list[dict[str, str]]:
    """Samples of an hour, as two API processes return them."""
    name, _, labels = metric.partition("{")
    values = f"{value}+{value}x60" if name.endswith("_total") else f"{value}x60"
    return [
        {"series": f'{name}{{job="atelier",instance="{instance}",{labels or "}"}', "values": values}
        for instance in "ab"
    ]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize(
    ("metrics", "firing"),
    [
        ({"up": 1, "atelier_redis_up": 1, "atelier_upkeeps": 1}, []),
        ({"up": 0}, ["AtelierDown"]),
        ({"up": 1, "atelier_redis_up": 0}, ["AtelierRedisDown"]),
        (
            {"up": 1, "atelier_redis_memory_bytes": 85, "atelier_redis_max_memory_bytes": 100},
            ["AtelierRedisNearlyFull"],
        ),
        ({"up": 1, "atelier_redis_memory_bytes": 85, "atelier_redis_max_memory_bytes": 0}, []),
        ({"up": 1, 'atelier_queue_workers{queue="gpu"}': 0, 'atelier_queued_jobs{queue="gpu"}': 0}, []),
        (
            {"up": 1, 'atelier_queue_workers{queue="gpu"}': 0, 'atelier_queued_jobs{queue="gpu"}': 3},
            ["AtelierQueueWithoutWorker"],
        ),
        (
            {
                "up": 1,
                'atelier_job_failures_total{kind="a",code="internal"}': 6,
                'atelier_jobs_total{kind="a",status="failed"}': 6,
                'atelier_jobs_total{kind="a",status="succeeded"}': 94,
            },
            ["AtelierJobsFail"],
        ),
        (
            {
                "up": 1,
                'atelier_job_failures_total{kind="a",code="bad_data"}': 50,
                'atelier_jobs_total{kind="a",status="failed"}': 50,
            },
            [],
        ),
        ({"up": 1, 'atelier_storage_errors_total{operation="put"}': 1}, ["AtelierStorageErrors"]),
        ({"up": 1, 'atelier_worker_model_evictions_total{worker="w"}': 2}, ["AtelierModelsThrash"]),
    ],
)
def test_an_alert_fires_for_its_cause_alone(metrics: dict[str, float], firing: list[str], tmp_path: Path) -> None:
    """Also with the figures of two API processes, which are the same."""
    samples = [sample for metric, value in metrics.items() for sample in series(metric, value)]
    expected = [
        {"value": 1, "labels": f'{{__name__="ALERTS",alertname="{name}",alertstate="firing"}}'} for name in firing
    ]
    checked = {"expr": 'sum by (__name__, alertname, alertstate) (ALERTS{alertstate="firing"})', "eval_time": "50m"}
    test = {"interval": "1m", "input_series": samples, "promql_expr_test": [{**checked, "exp_samples": expected}]}
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(WATCH / "alerts.yml")], "tests": [test]}))
    ran = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stdout + ran.stderr
