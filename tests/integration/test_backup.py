"""J19: what was backed up comes back, into another Redis and another kind of object store."""

import contextlib
import hashlib
import json
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.styles import EXAMPLES as STYLES
from jobs.backup import MANIFEST, BackupError, load, save
from jobs.errors import NotFound
from jobs.objects import Objects
from jobs.store import snapshot
from jobs.store.client import connect
from jobs.store.jobs import JobStore
from jobs.store.protocol import PREFIX
from jobs.store.records import Ending, NewJob, Record
from jobs.store.references import new_holder
from tests.integration.test_trainings import TRAINING
from tests.stack import ROOT, Seaweed, Stack, wait_until
from worker.upkeep import remove_unused

PHOTO = ROOT / "examples" / "photos" / "chelsea.jpg"
COLLECTION = {"name": "Digits", "space": "pixels", "image_size": 16, "channels": 1, "data": "digits", "limit": 60}


@pytest.fixture
def target(tmp_path: Path, s3: Seaweed) -> Iterator[Stack]:
    """An empty installation on a bucket, of which only Valkey runs."""
    (tmp_path / "target").mkdir()
    made = Stack(tmp_path / "target", **s3.env)
    made.start_valkey()
    yield made
    made.stop()


def run(stack: Stack, script: str, folder: Path) -> str:
    """Runs scripts/backup or scripts/restore with the settings of an installation."""
    command = [str(ROOT / "scripts" / script), str(folder)]
    done = subprocess.run(command, env=stack.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fill(stack: Stack) -> None:
    """Makes one of everything that users can make, and leaves a job running and one queued."""
    post = stack.client.post
    image = post("/v1/images", files={"file": PHOTO.read_bytes()}).json()["id"]
    requests = {
        "/v1/trainings": TRAINING | {"num_steps": 40},
        "/v1/collections": COLLECTION,
        "/v1/style-transfers": {"method": "fast", "content": image, "style": "builtin:1", "size": 64},
    }
    ids = [post(path, json=body).raise_for_status().json()["id"] for path, body in requests.items()]
    assert [stack.finished(each, 120)["status"] for each in ids] == ["succeeded"] * 3
    post("/v1/styles", json=STYLES["vector"]["value"]).raise_for_status()
    running = stack.submit(steps=600, step_s=0.1)["id"]
    wait_until(lambda: stack.job(running)["status"] == "running", 20, "a running job")
    stack.submit(steps=1, priority=-1)


def without_links(value: Any) -> Any:
    """JSON without what differs between two installations: links, times to come, and which workers run."""
    if isinstance(value, dict):
        differs = ("expires_at", "estimated_start_at", "progress", "installed_on")
        return {k: without_links(v) for k, v in value.items() if "url" not in k and k not in differs}
    return [without_links(each) for each in value] if isinstance(value, list) else value


def read_everything(stack: Stack) -> dict[str, Any]:
    """Each resource that the API lists, by path, and the sha256 of each file that it links."""
    found: dict[str, Any] = {}

    def get(path: str) -> Any:
        body = stack.client.get(path).raise_for_status().json()
        found[path] = without_links(body)
        return body

    def download(name: str, url: str) -> None:
        answer = stack.client.get(url)
        found[name] = hashlib.sha256(answer.raise_for_status().content).hexdigest()

    for job in get("/v1/jobs?limit=100")["jobs"]:
        for output in job["outputs"]:
            download(f"{job['id']}/{output['index']}", output["url"])
        if image := job["params"].get("content"):
            get(f"/v1/images/{image}")
            download(image, f"/v1/images/{image}/content")
    for model in get("/v1/models")["models"]:
        for file in get(f"/v1/models/{model['id']}/files")["files"]:
            if file["url"]:
                download(f"{model['id']}/{file['name']}", file["url"])
    for collection in get("/v1/collections")["collections"]:
        members = get(f"/v1/collections/{collection['id']}/members")["members"]
        download(f"{collection['id']}/thumbnail", members[0]["thumbnail_url"])
        get(f"/v1/collections/{collection['id']}")
    get("/v1/styles")
    return found


def test_everything_is_readable_after_a_restore_into_an_empty_stack(
    shared_stack: Stack, target: Stack, tmp_path: Path
) -> None:
    """From a folder to a bucket; a queued job and a running one are run there."""
    fill(shared_stack)
    before = read_everything(shared_stack)
    run(shared_stack, "backup", tmp_path / "backup")
    run(target, "restore", tmp_path / "backup")
    target.start_api()
    after = read_everything(target)
    assert {path for path in before if after.get(path) != before[path]} == set()
    kinds = sorted({job["kind"] for job in after["/v1/jobs?limit=100"]["jobs"]})
    print(f"J19: {len(after)} of {len(before)} resources and files read after the restore; jobs: {kinds}")
    output = next(job["outputs"][0] for job in target.client.get("/v1/jobs").json()["jobs"] if job["outputs"])
    assert httpx.get(output["url"]).headers["content-type"] == output["content_type"], "a bucket knows its types"

    def requeued() -> bool:
        target.jobs.sweep()
        return target.jobs.depths()["fast"] == 2

    wait_until(requeued, 10, "the lapsed lease")
    assert [record.attempt for record in (take(target.jobs), take(target.jobs))] == [2, 1]


def take(jobs: JobStore) -> Record:
    [record] = jobs.claim("fast", worker="w")
    return record


# Beside work.


@pytest.fixture
def stores(valkey: Stack, tmp_path: Path) -> tuple[JobStore, Objects]:
    """An empty Redis and an empty folder, in which unused objects live for a fifth of a second."""
    valkey.redis.flushdb()
    changed = {"storage_url": str(tmp_path / "objects"), "hold_s": 0.2, "lease_s": 60, "max_queue": 10_000}
    settings = valkey.settings.model_copy(update=changed)
    jobs = JobStore(connect(settings, attempts=5), settings)
    return jobs, Objects(settings, jobs, retry_s=1)


def one_life(jobs: JobStore, objects: Objects, seed: int) -> None:
    """Submits, runs and deletes a job with an image of its own."""
    holder = new_holder()
    sha = objects.put(random.Random(seed).randbytes(500), "image/png", holder=holder)
    jobs.images.put(sha, {}, holder)
    job_id, _ = jobs.create(NewJob(kind="probe", queue="fast", params={}, images=[sha]))
    jobs.images.delete(sha)
    record = take(jobs)
    output = {"index": 0, "sha256": sha}
    jobs.finish(record.id, record.fence, Ending("succeeded", {}, [output]))
    jobs.delete(job_id)


@contextlib.contextmanager
def repeated(step: Callable[[int], object]) -> Iterator[list[int]]:
    """Calls a function with 0, 1, 2, … in a thread inside the block; an error ends the test."""
    stop, done, errors = threading.Event(), [0], []

    def work() -> None:
        try:
            while not stop.is_set():
                step(done[0])
                done[0] += 1
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield done
    stop.set()
    thread.join()
    assert errors == []


def test_no_record_of_a_backup_beside_work_names_a_missing_object(
    stores: tuple[JobStore, Objects], tmp_path: Path
) -> None:
    jobs, objects = stores
    named, backups, until = 0, 0, time.monotonic() + 2
    with repeated(lambda n: one_life(jobs, objects, n)) as lives, repeated(lambda _: remove_unused(jobs, objects)):
        while time.monotonic() < until:
            done = save(jobs, objects, tmp_path / "backup")
            jobs.client.delete(snapshot.BACKUP)  # clean-up goes on between two backups
            assert done["missing"] == []
            assert json.loads((tmp_path / "backup" / MANIFEST).read_text()) == done
            named, backups = named + done["objects"], backups + 1
    print(f"J19: {backups} backups during {lives[0]} lives of a job: {named} objects copied, 0 named and missing")
    assert named > 0 and lives[0] > 30


def test_clean_up_goes_on_after_a_backup_and_not_during_one(stores: tuple[JobStore, Objects], tmp_path: Path) -> None:
    jobs, objects = stores
    objects.put(b"unused", "image/png")
    snapshot.suspend_clean_up(jobs.client)
    time.sleep(0.25)
    assert remove_unused(jobs, objects) == 0
    assert 0 < jobs.client.ttl(snapshot.BACKUP) <= snapshot.BACKUP_S  # type: ignore[operator]
    jobs.client.delete(snapshot.BACKUP)
    assert remove_unused(jobs, objects) == 1


# What a backup holds.


def test_a_second_backup_copies_only_what_is_new_and_keeps_nothing_unused(
    stores: tuple[JobStore, Objects], tmp_path: Path
) -> None:
    jobs, objects = stores
    shas = [upload(jobs, objects, data) for data in (b"first", b"second")]
    save(jobs, objects, tmp_path / "backup")
    first = tmp_path / "backup" / "objects" / shas[0]
    inode = first.stat().st_ino
    (tmp_path / "backup" / "objects" / shas[1]).write_bytes(b"damaged in the backup")
    shas.append(upload(jobs, objects, b"third"))
    assert save(jobs, objects, tmp_path / "backup")["objects"] == 3
    assert {path.name for path in first.parent.iterdir()} == set(shas)
    assert first.stat().st_ino == inode
    assert (first.parent / shas[1]).read_bytes() == b"second", "what does not match its name is copied again"
    jobs.images.delete(shas[0])
    assert save(jobs, objects, tmp_path / "backup")["objects"] == 2
    assert len(list((tmp_path / "backup").iterdir())) == 3, "objects, one file of records, backup.json"


def upload(jobs: JobStore, objects: Objects, data: bytes) -> str:
    holder = new_holder()
    sha = objects.put(data, "image/png", holder=holder)
    jobs.images.put(sha, {"size_bytes": len(data)}, holder)
    return sha


def test_what_the_store_lacks_is_named_and_the_rest_is_copied(stores: tuple[JobStore, Objects], tmp_path: Path) -> None:
    jobs, objects = stores
    gone, damaged, whole = (upload(jobs, objects, data) for data in (b"gone", b"damaged", b"whole"))
    objects.delete(gone)
    (tmp_path / "objects" / damaged).write_bytes(b"something else")
    done = save(jobs, objects, tmp_path / "backup")
    assert (done["missing"], done["objects"]) == (sorted([gone, damaged]), 1)
    jobs.client.flushdb()
    assert load(jobs, objects, tmp_path / "backup") == done, "restored as it was"
    assert objects.get(whole) == b"whole"
    assert jobs.images.get(gone)[0] == {"size_bytes": 4}


def test_ends_of_life_move_by_the_age_of_a_backup(
    stores: tuple[JobStore, Objects], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished job, kept for a week, is still there after a restore a year later."""
    jobs, objects = stores
    job_id, _ = jobs.create(NewJob(kind="probe", queue="fast", params={}))
    jobs.cancel(job_id)
    sha = upload(jobs, objects, b"image")
    year_ms = 365 * 86_400_000
    taken_at, rows = snapshot.read_all(jobs.client)
    zsets = {key: value for key, sort, _, value in rows if sort == "zset"}
    jobs.client.flushdb()
    assert snapshot.begin_restore(jobs.client)
    snapshot.write_all(jobs.client, taken_at - year_ms, rows)
    for key, member in (("done", job_id), (f"refs:{sha}", "image")):
        moved = jobs.client.zscore(f"{PREFIX}{key}", member)
        assert 0 <= moved - float(zsets[key][1]) - year_ms < 60_000  # type: ignore[operator]


@pytest.mark.parametrize("fault", ["object gone", "object damaged", "records damaged", "no backup", "not empty"])
def test_nothing_is_restored_from_a_backup_that_is_not_whole(
    stores: tuple[JobStore, Objects], tmp_path: Path, fault: str
) -> None:
    jobs, objects = stores
    sha = upload(jobs, objects, b"image")
    folder = tmp_path / "backup"
    records = folder / save(jobs, objects, folder)["records"]
    if fault != "not empty":
        jobs.client.flushdb()
    if fault == "object gone":
        (folder / "objects" / sha).unlink()
    elif fault == "object damaged":
        (folder / "objects" / sha).write_bytes(b"other")
    elif fault == "records damaged":
        records.write_bytes(records.read_bytes()[:-1])
    elif fault == "no backup":
        (folder / MANIFEST).unlink()
    before = jobs.client.dbsize()
    with pytest.raises(BackupError):
        load(jobs, objects, folder)
    assert jobs.client.dbsize() == before


def test_an_interrupted_restore_begins_anew(stores: tuple[JobStore, Objects], tmp_path: Path) -> None:
    jobs, objects = stores
    sha = upload(jobs, objects, b"image")
    save(jobs, objects, tmp_path / "backup")
    jobs.client.flushdb()
    assert snapshot.begin_restore(jobs.client)
    jobs.client.set(f"{PREFIX}image:{'0' * 64}", "left by an interrupted restore of another backup")
    load(jobs, objects, tmp_path / "backup")
    with pytest.raises(NotFound):
        jobs.images.get("0" * 64)
    assert jobs.images.get(sha)[0] == {"size_bytes": 5}
    with pytest.raises(BackupError, match="not empty"):
        load(jobs, objects, tmp_path / "backup")


def test_records_that_cannot_be_read_in_time_are_no_backup(
    stores: tuple[JobStore, Objects], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, _ = stores
    jobs.create(NewJob(kind="probe", queue="fast", params={}))
    monkeypatch.setattr(snapshot, "PAUSE_S", 0.0001)
    with pytest.raises(snapshot.SlowError):
        snapshot.read_all(jobs.client)


def test_writes_wait_while_records_are_read_and_none_fails(stores: tuple[JobStore, Objects]) -> None:
    """Also prints for how long: the figure of the docs."""
    jobs, _ = stores
    for _ in range(5000):
        jobs.create(NewJob(kind="probe", queue="fast", params={"prompt": "x" * 500}))
    with repeated(lambda _: jobs.cancel(jobs.create(NewJob(kind="probe", queue="gpu", params={}))[0])):
        started = time.monotonic()
        _, rows = snapshot.read_all(jobs.client)
        took = time.monotonic() - started
    n_jobs = sum(key.startswith("job:") for key, *_ in rows)
    indexed = {member for key, _, _, value in rows if key == "jobs" for member in value[::2]}
    assert indexed == {key.removeprefix("job:") for key, *_ in rows if key.startswith("job:")}, "of one moment"
    print(f"J19: the records of {n_jobs} jobs read in {took:.2f} s, {n_jobs / took:,.0f} jobs a second")
