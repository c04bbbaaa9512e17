"""Upkeep counts once what earlier releases stored."""

from jobs.objects import Objects
from jobs.store.jobs import JobStore
from worker.upkeep import count_earlier


def test_bytes_of_earlier_releases_are_counted_once(jobs: JobStore, objects: Objects) -> None:
    sha = objects.put(b"of an earlier release", "image/png")
    jobs.client.delete(f"atelier:owners:{sha}")
    for each in (sha, "0" * 64):  # the second has no bytes any more
        jobs.client.zadd(f"atelier:refs:{each}", {"model:vae-0123456789ab": "+inf"})
    for _ in range(2):
        count_earlier(jobs, objects)
        assert jobs.client.hgetall("atelier:stored") == {"default": str(len(b"of an earlier release"))}
