"""A tenant is alone (S5, S9): every route with another tenant's key, hashes and idempotency keys too."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.access import is_public, needed_scope
from jobs.objects import Objects
from jobs.store.jobs import JobStore
from jobs.store.keys import SCOPES
from jobs.store.records import Ending, NewJob
from jobs.store.registry import NEW
from tests.api.conftest import FAST, image_file
from tests.api.examples import DOCUMENT
from tests.stack import Stack
from worker.upkeep import remove_unused

MODEL = "vae-0123456789ab"
CARD: dict[str, Any] = {"id": MODEL, "task": "vae", "title": "M", "description": "M", "license": "MIT", "source": {}}
CARD |= {"files": {}, "architecture": {"name": "stable-diffusion"}}
PATHS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods if not is_public(path)]
LISTS = (
    "/v1/webhooks",
    "/v1/webhook-deliveries",
    "/v1/jobs",
    "/v1/collections",
    "/v1/styles",
    "/v1/models",
    "/openai/v1/models",
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Valkey and the API."""
    made = Stack(tmp_path_factory.mktemp("tenants"))
    made.start_valkey()
    made.start_api("api.main:app")
    yield made
    made.stop()


def client(stack: Stack, tenant: str) -> httpx.Client:
    """A client with a key of a tenant."""
    text = stack.jobs.keys.create(tenant, tenant=tenant, scopes=[each for each in SCOPES if each != "admin"])[1]
    return httpx.Client(base_url=stack.url, headers={"X-API-Key": text}, timeout=30)


@pytest.fixture(scope="module")
def ours(stack: Stack) -> httpx.Client:
    return client(stack, "ours")


@pytest.fixture(scope="module")
def theirs(stack: Stack) -> httpx.Client:
    return client(stack, "theirs")


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one.png", image_file(seed=5))
    return file.getvalue()


def finished(store: JobStore, job: NewJob, **made: Any) -> str:
    """Creates a job and finishes it as a worker does."""
    job_id, _ = store.create(job)
    [record] = JobStore(store.client, store.settings).claim(job.queue, worker="w")
    assert record.id == job_id and record.tenant == "ours"
    JobStore(store.client, store.settings).finish(record.id, record.fence, Ending("succeeded", {}, **made))
    return job_id


@pytest.fixture(scope="module")
def ids(stack: Stack, ours: httpx.Client) -> dict[str, str]:
    """One of everything, by the name of its path parameter."""
    store = stack.jobs.of("ours")
    sha = Objects(stack.settings, stack.jobs, retry_s=1).put(image_file(seed=1), "image/png")
    output = {"index": 0, "role": "picture", "sha256": sha, "content_type": "image/png", "size_bytes": 1, "seed": 1}
    job = finished(store, NewJob("generation", "gpu", {}), outputs=[output | {"width": 1, "height": 1}])
    finished(store, NewJob("training", "train", {}), model=CARD)
    version = {"file": sha, "figures": {"n_images": 1}}
    params = {"name": "C", "space": "pixels"}
    built = finished(store, NewJob("collection", "collect", params, collection=NEW), collection=version)
    style = ours.post("/v1/styles", json={"name": "S", "vector": [0.1] * 100}).json()["id"]
    image = ours.post("/v1/images", files={"file": image_file(seed=2)}).json()["id"]
    archive = ours.post("/v1/archives", files={"file": zipped()}).json()["id"]
    webhook = ours.post("/v1/webhooks", json={"url": "https://hooks.invalid/done"}).json()["id"]
    deliver = finished(store, NewJob("generation", "gpu", {}, webhook_url="https://hooks.invalid/done"))
    delivery = store.deliveries.page(job=deliver, status=None, limit=1, cursor=None)[0][0].id
    made = {"webhook_id": webhook, "delivery_id": delivery}
    made |= {"job_id": job, "model_id": MODEL, "collection_id": built.replace("job_", "col_"), "style_id": style}
    return made | {"image_id": image, "archive_id": archive}


def call(client: httpx.Client, method: str, path: str, ids: dict[str, str]) -> httpx.Response:
    """Calls a route with ids, and with the body of its first example."""
    path = path.format(**ids, index=0, name="card.json" if "models" in path else "t-sne", member_id=0, key_id="0" * 12)
    return client.request(method, path, json=body_of(method, path) if method in ("post", "patch") else None)


def body_of(method: str, path: str) -> Any:
    template = next(each for m, each in PATHS if m == method and matches(each, path))
    content = DOCUMENT["paths"][template][method].get("requestBody", {}).get("content", {}).get("application/json", {})
    return next((each["value"] for each in content.get("examples", {}).values()), None)


def matches(template: str, path: str) -> bool:
    pairs = list(zip(template.split("/"), path.split("/"), strict=False))
    return template.count("/") == path.count("/") and all(a == b or a.startswith("{") for a, b in pairs)


@pytest.mark.parametrize(("method", "path"), [each for each in PATHS if "{" in each[1] and each[0] != "delete"])
def test_a_route_hides_what_another_tenant_made(
    ours: httpx.Client, theirs: httpx.Client, ids: dict[str, str], method: str, path: str
) -> None:
    if needed_scope(method.upper(), path) == "admin":
        assert call(theirs, method, path, ids).status_code == 403
        return
    unknown = {name: value[:4] + "0" * len(value[4:]) for name, value in ids.items()}
    hidden = call(theirs, method, path, ids)
    assert hidden.status_code == 404, hidden.text
    absent = call(theirs, method, path, unknown)
    assert (absent.status_code, absent.json()["error"]["code"]) == (404, hidden.json()["error"]["code"])
    print(f"S5: {method} {path}: 404 {hidden.json()['error']['code']} for another tenant's key")
    if method == "get" and not path.endswith(("/preview", "/checkpoint", "/thumbnail", "/plots/{name}")):
        assert call(ours, method, path, ids).status_code in (200, 409), path


@pytest.mark.parametrize("path", LISTS)
def test_a_list_shows_only_its_tenant(ours: httpx.Client, theirs: httpx.Client, ids: dict[str, str], path: str) -> None:
    mine, others = ours.get(path), theirs.get(path)
    assert mine.status_code == others.status_code == 200
    shown = [sum(value in answer.text for value in ids.values()) for answer in (mine, others)]
    print(f"S9: {path} shows its tenant {shown[0]} ids, another one {shown[1]}")
    assert shown[0] and not shown[1]
    for query in ("status=succeeded", "kind=training", "kind=training&status=succeeded") if path == "/v1/jobs" else ():
        assert ours.get(f"{path}?{query}").json()["jobs"] and theirs.get(f"{path}?{query}").json()["jobs"] == []


def test_requests_cannot_name_what_another_tenant_made(
    ours: httpx.Client, theirs: httpx.Client, ids: dict[str, str]
) -> None:
    bodies = {"/v1/style-transfers": FAST | {"content": ids["image_id"]}, "/v1/styles": {"name": "S", "output": 0}}
    bodies["/v1/styles"] |= {"job": ids["job_id"]}
    bodies["/v1/collections"] = {"name": "C", "space": "pixels", "data": ids["archive_id"]}
    for path, body in bodies.items():
        assert theirs.post(path, json=body).status_code == 404, path
    member = FAST | {"content": f"{ids['collection_id']}/0"}
    assert theirs.post("/v1/style-transfers", json=member).status_code == 404
    assert theirs.post("/v1/style-transfers", json=FAST | {"style": ids["style_id"]}).status_code == 404
    assert ours.post("/v1/style-transfers", json=bodies["/v1/style-transfers"]).status_code == 202


def test_deleting_is_refused_to_others(theirs: httpx.Client, stack: Stack, ids: dict[str, str]) -> None:
    before = sorted(stack.redis.scan_iter("atelier:*"))
    deleting = [path for method, path in PATHS if method == "delete" and not path.startswith("/v1/keys")]
    assert [call(theirs, "delete", path, ids).status_code for path in deleting] == [404] * len(deleting)
    assert sorted(stack.redis.scan_iter("atelier:*")) == before


def test_an_idempotency_key_belongs_to_its_tenant(ours: httpx.Client, theirs: httpx.Client) -> None:
    headers = {"Idempotency-Key": "same"}
    made = [each.post("/v1/style-transfers", json=FAST, headers=headers).json()["id"] for each in (ours, theirs, ours)]
    print(f"S9: one idempotency key of two tenants: {len(set(made))} jobs")
    assert made[0] == made[2] != made[1]
    assert ours.get(f"/v1/jobs/{made[1]}").status_code == 404
    assert theirs.post(f"/v1/jobs/{made[0]}/cancel").status_code == 404


def test_equal_bytes_have_two_owners(ours: httpx.Client, theirs: httpx.Client, stack: Stack) -> None:
    """The object is one, and goes with the last of its uploads."""
    file = {"file": image_file(seed=3)}
    image = ours.post("/v1/images", files=file).json()["id"]
    hidden = theirs.get(f"/v1/images/{image}").status_code
    print(f"S9: an image of the same bytes before the other tenant uploads it: {hidden}")
    assert hidden == 404
    assert theirs.post("/v1/images", files=file).json()["id"] == image
    objects = Objects(stack.settings, stack.jobs, retry_s=1)
    assert ours.delete(f"/v1/images/{image}").status_code == 204
    remove_unused(stack.jobs, objects)
    assert ours.get(f"/v1/images/{image}/content").status_code == 404
    assert theirs.get(f"/v1/images/{image}/content").status_code == 200
    assert theirs.delete(f"/v1/images/{image}").status_code == 204
    remove_unused(stack.jobs, objects)
    with pytest.raises(Exception, match="no longer exist"):
        objects.get(image.removeprefix("img_"))


def test_a_shared_model_is_used_but_not_changed_by_others(
    ours: httpx.Client, theirs: httpx.Client, stack: Stack, ids: dict[str, str]
) -> None:
    path = f"/v1/models/{MODEL}"
    assert theirs.patch(path, json={"shared": True}).status_code == 404
    assert ours.patch(path, json={"shared": True}).json()["shared"] is True
    assert ours.get(path).json()["trained_by"] and theirs.get(path).json()["id"] == MODEL
    assert theirs.get(path).json()["trained_by"] is None, "the job of another tenant"
    assert theirs.patch(path, json={"shared": False}).status_code == theirs.delete(path).status_code == 404
    job, _ = stack.jobs.of("theirs").create(NewJob("generation", "gpu", {}, models=[MODEL]))
    refused = ours.delete(path)
    assert refused.status_code == 409 and job not in refused.text
    assert ours.patch(path, json={"shared": False}).json()["shared"] is False
    assert theirs.get(path).status_code == 404
    with pytest.raises(Exception, match="No model"):
        stack.jobs.of("theirs").create(NewJob("generation", "gpu", {}, models=[MODEL]))


def test_a_retry_of_a_training_needs_the_scope(ours: httpx.Client, stack: Stack) -> None:
    text = stack.jobs.keys.create("no training", tenant="ours", scopes=["read", "submit"])[1]
    params = {"recipe": "vae", "data": "digits", "num_steps": 20, "batch_size": 64, "latent_dim": 8}
    store = stack.jobs.of("ours")
    job = finished(store, NewJob("training", "train", params | {"seed": 1}))
    answer = httpx.post(f"{stack.url}/v1/jobs/{job}/retry", headers={"X-API-Key": text})
    assert (answer.status_code, answer.json()["error"]["details"]) == (403, {"needed": "train"}), answer.text
