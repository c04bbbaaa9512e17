"""Checks docker/kubernetes against the schemas of Kubernetes and KEDA, the images and the code."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from jobs.settings import Settings
from jobs.store.records import QUEUES
from tests.deployment import COMPOSE, SERVICES, instructions
from tests.stack import ROOT

FOLDER = ROOT / "docker" / "kubernetes"
OLDEST, NEWEST = "1.30", "1.37"  # of the Kubernetes releases that the manifests are checked against
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
DOCUMENTS: list[dict[str, Any]] = [
    document for name in KUSTOMIZATION["resources"] for document in yaml.safe_load_all((FOLDER / name).read_text())
]
KEDA_SCHEMA = json.loads(Path(__file__).with_name("keda.json").read_text())


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in DOCUMENTS if each["kind"] == kind}


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    return dict(deployment["spec"]["template"]["spec"])


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    [only] = pod(deployment)["containers"]
    return dict(only)


DEPLOYMENTS = of_kind("Deployment")
WORKERS = [f"atelier-worker-{queue}" for queue in QUEUES]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_manifests_fit_the_schemas(document: dict[str, Any], version: str) -> None:
    if document["kind"] == "ScaledObject":
        jsonschema.Draft7Validator(KEDA_SCHEMA).validate(document)
        behavior = document["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        scaler = {"scaleTargetRef": {"kind": "Deployment", "name": "x"}, "maxReplicas": 2, "behavior": behavior}
        document = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": scaler}
    kubernetes_validate.validate(document, version, strict=True)


def test_a_fault_is_found() -> None:
    """The schemas are the strict ones: an unknown field is a fault, as the API server's own validation warns."""
    [service] = of_kind("Service").values()
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service | {"spec": {"port": 8000}}, NEWEST, strict=True)
    scaled = next(iter(of_kind("ScaledObject").values()))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(KEDA_SCHEMA).validate(scaled | {"spec": scaled["spec"] | {"minReplicas": 0}})


def test_the_kustomization_names_every_file_and_image() -> None:
    named = set(KUSTOMIZATION["resources"]) | {"kustomization.yaml"}
    assert named == {path.name for path in FOLDER.glob("*.yaml")}
    used = {container(each)["image"] for each in DEPLOYMENTS.values()}
    assert {image["name"] for image in KUSTOMIZATION["images"]} == used == {"atelier-api", "atelier-worker"}
    for generator in KUSTOMIZATION["configMapGenerator"] + KUSTOMIZATION["secretGenerator"]:
        for name in generator["envs"]:
            assert (FOLDER / name).exists() or (FOLDER / f"{name}.example").exists()
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"secrets.env", "webhooks.env"} <= set(ignored)


def test_environments_are_settings_and_no_secret_is_committed() -> None:
    generated = {each["name"] for each in KUSTOMIZATION["configMapGenerator"] + KUSTOMIZATION["secretGenerator"]}
    for name, deployment in DEPLOYMENTS.items():
        sources = [next(iter(each.values()))["name"] for each in container(deployment)["envFrom"]]
        assert set(sources) <= generated and sources[:2] == ["atelier-settings", "atelier-secrets"]
        assert ("atelier-webhooks" in sources) == (name == "atelier-upkeep"), "only upkeep calls webhooks"
    for path in FOLDER.glob("*.env*"):
        for name, value in (line.split("=", 1) for line in path.read_text().splitlines() if line[:1] not in ("", "#")):
            assert name.startswith("AWS_") or name.removeprefix("ATELIER_").lower() in Settings.model_fields
            assert not (path.suffix == ".example" and value)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pods_are_hardened_probed_and_bounded(name: str) -> None:
    """They satisfy the pod security standard `restricted`, which the namespace enforces."""
    spec, main = pod(DEPLOYMENTS[name]), container(DEPLOYMENTS[name])
    assert of_kind("Namespace")["atelier"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    hardened = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert main["securityContext"] == hardened
    assert main["livenessProbe"] and main["resources"]["requests"]["cpu"] and main["resources"]["limits"]["memory"]
    mounted = {mount["name"] for mount in main["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    assert all(volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"])
    [budget] = [each for each in of_kind("PodDisruptionBudget").values() if each["metadata"]["name"] == name]
    labels = DEPLOYMENTS[name]["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"] == labels == DEPLOYMENTS[name]["spec"]["selector"]["matchLabels"]


def test_each_queue_has_a_worker_as_compose_starts_it() -> None:
    assert set(DEPLOYMENTS) == {"atelier-api", "atelier-upkeep", *WORKERS}
    for queue, name in zip(QUEUES, WORKERS, strict=True):
        assert container(DEPLOYMENTS[name])["args"] == SERVICES[f"worker-{queue}"]["command"]
        assert "replicas" not in DEPLOYMENTS[name]["spec"], "KEDA sets them; a value would reset them"
    on_gpu = {name for name in WORKERS if "nvidia.com/gpu" in container(DEPLOYMENTS[name])["resources"]["limits"]}
    assert on_gpu == {"atelier-worker-gpu", "atelier-worker-train"}
    assert container(DEPLOYMENTS["atelier-upkeep"])["command"] == SERVICES["upkeep"]["command"]


def test_ports_paths_and_health_checks_are_those_of_the_images() -> None:
    assert COMPOSE["services"]["worker-fast"]["healthcheck"]["test"][1:3] == ["python", "/opt/atelier/health.py"]
    for name in WORKERS:
        assert container(DEPLOYMENTS[name])["livenessProbe"]["exec"]["command"] == [
            "python",
            "/opt/atelier/health.py",
            "worker",
        ]
    exposed = [rest for word, rest in instructions(ROOT / "docker" / "api.Dockerfile") if word == "EXPOSE"]
    assert exposed == [str(container(DEPLOYMENTS["atelier-api"])["ports"][0]["containerPort"])]
    assert of_kind("Service")["atelier-api"]["spec"]["ports"][0]["port"] == 8000


@pytest.mark.parametrize("queue", QUEUES)
def test_keda_scales_by_length_age_and_running_jobs_of_the_queue(queue: str) -> None:
    """By metrics that the reference page names with this label; only the queues of short jobs keep a worker."""
    spec = of_kind("ScaledObject")[f"atelier-worker-{queue}"]["spec"]
    assert spec["scaleTargetRef"]["name"] == f"atelier-worker-{queue}"
    assert spec["minReplicaCount"] == (1 if queue in ("fast", "search") else 0)
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    measured = []
    for trigger in spec["triggers"]:
        assert trigger["metadata"]["url"] == "http://atelier-api.atelier:8000/metrics"
        found = re.fullmatch(r'(\w+)\{queue="(\w+)"\}', trigger["metadata"]["valueLocation"])
        assert found and found[2] == queue and f"| `{found[1]}` | gauge | queue |" in page
        measured.append(found[1])
    assert measured == ["atelier_queued_jobs", "atelier_oldest_queued_seconds", "atelier_busy_children"]
