"""Measures spaces of 100,000 vectors: fits, search and listings of members: `python -m bench.spaces [PART ...]`.

`fit`: components, clusters and a map, against plain scikit-learn. `search`: the nearest of 100,000 members, and of
three times as many by the index, against scikit-learn. `searches`: the same as jobs of a real API and worker.
`members`: pages of the listing, by a real API over HTTP.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import openTSNE
import psutil
from numpy.typing import NDArray
from openTSNE.affinity import PerplexityBasedNN
from openTSNE.nearest_neighbors import PrecomputedNeighbors
from openTSNE.tsne import kl_divergence_fft
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from umap import UMAP

from bench.resident import peak_memory
from jobs.members import MAX_SCORES, TABLE, MembersTable
from jobs.objects import Objects
from jobs.store.records import Ending, NewJob
from jobs.store.registry import NEW
from models.space import neighbors
from models.space.collection import FittedCollection, Members, save_collection
from models.space.maps import DIMENSIONS, PERPLEXITY, tsne_map, umap_map
from models.space.methods import kmeans
from models.space.pca import fit_pca
from models.space.search import EXACT, MemberIndex, write_lists
from tests.stack import Stack

DIM, RANK = 768, 60
CLUSTERS = 20
QUERIES = 200
SUBSAMPLE = 2_000  # vectors of scikit-learn's t-SNE, which would take hours for 100,000


def main() -> None:
    """Runs the named parts, by default all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    for part in args.parts or PARTS:
        PARTS[part](args)


def fit(args: argparse.Namespace) -> None:
    """Prints seconds by the clock and of CPU, ours and theirs, and the peak of the resident memory after each."""
    vectors = low_rank(args.rows)
    before = peak_memory() / 1e9
    print(f"{args.rows:,} x {DIM} float32, median of {args.rounds}, maps once; resident before {before:.2f} GB")
    pca = measured("PCA at 99 %", args.rounds, lambda: fit_pca(vectors, standardize=False, seed=0))
    scores = pca.transform(vectors)
    ours = measured(f"k-means of {CLUSTERS}", args.rounds, lambda: kmeans(scores, n_clusters=CLUSTERS, seed=0))
    compare_neighbors(scores[:, :DIMENSIONS], rounds=args.rounds)
    ours_map = measured("t-SNE", 1, lambda: tsne_map(scores, seed=0))
    umap_map(scores[:SUBSAMPLE], seed=0)  # numba compiles it
    measured("UMAP", 1, lambda: umap_map(scores, seed=0))
    theirs = measured("scikit-learn PCA at 99 %", args.rounds, lambda: PCA(0.99).fit(vectors))
    plain = measured(
        f"scikit-learn k-means of {CLUSTERS}, n_init=10",
        args.rounds,
        lambda: KMeans(CLUSTERS, n_init=10, random_state=0).fit(scores),
    )
    measured("umap-learn", 1, lambda: UMAP(random_state=0, n_jobs=1).fit_transform(scores))
    used = scores[:, :DIMENSIONS]
    plain_map = measured("openTSNE as it comes", 1, lambda: openTSNE.TSNE(random_state=0).fit(used))
    few_kept, more_kept = ([kept(used, each, k) for each in (ours_map, plain_map)] for k in (10, 15))
    print("of 10 neighbors the t-SNE maps keep {:.4f} and {:.4f},".format(*few_kept), end=" ")
    print("of 15 {:.4f} and {:.4f}; ".format(*more_kept), end="")
    print("their KL divergences are {:.3f} and {:.3f}".format(*divergences(used, ours_map, plain_map)))
    few = scores[:SUBSAMPLE]
    measured(f"scikit-learn t-SNE of {len(few):,} of them", 1, lambda: TSNE(random_state=0).fit_transform(few))
    inertia = float(((scores - ours.cluster_centers_[ours.labels_]) ** 2).sum())
    share = inertia / plain.inertia_
    print(f"components {len(pca.components_)} and {theirs.n_components_}, inertia {share:.4f} of theirs")
    exact = PCA(0.99).fit(vectors.astype(np.float64)).explained_variance_
    print(f"variances differ from those in float64 by {np.abs(pca.explained_variance_ / exact - 1).max():.0e} at most")


def compare_neighbors(scores: Any, rounds: int) -> None:
    """Prints the time of exact neighbors and of those by the inverted file, and the recall of the latter."""
    n, exact_up_to = 3 * PERPLEXITY, neighbors.EXACT
    neighbors.EXACT = len(scores)
    exact = measured(f"{n} exact neighbors", rounds, lambda: neighbors.neighbors_of(scores, n))
    neighbors.EXACT = 0
    listed = measured(f"{n} neighbors by the inverted file", rounds, lambda: neighbors.neighbors_of(scores, n))
    neighbors.EXACT = exact_up_to
    print(f"recall of the inverted file {recall(listed.indices, exact.indices):.4f}")


def kept(scores: Any, points: Any, k: int) -> float:
    """The share of the `k` nearest members that are also among the `k` nearest on a map."""
    found = (neighbors.neighbors_of(np.asarray(each, np.float32), k).indices for each in (scores, points))
    return recall(*found)


def divergences(scores: Any, *maps: Any) -> list[float]:
    """KL divergence of each map from the similarities of the scores, by openTSNE's interpolation as it comes."""
    distances, indices = neighbors.neighbors_of(scores, 3 * PERPLEXITY)
    nearest = PrecomputedNeighbors(indices, distances)
    similarities = PerplexityBasedNN(perplexity=PERPLEXITY, knn_index=nearest).P
    grid = {"n_interpolation_points": 3, "min_num_intervals": 50, "ints_in_interval": 1}
    points = (np.ascontiguousarray(each, np.float64) for each in maps)
    return [kl_divergence_fft(each, similarities, 1, grid, should_eval_error=True)[0] for each in points]


def recall(found: Any, wanted: Any) -> float:
    """The share of wanted neighbors (n, k) that were found, on every tenth row."""
    rows = zip(found[::10].tolist(), wanted[::10].tolist(), strict=True)
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in rows]))


def search(args: argparse.Namespace) -> None:
    """Prints milliseconds of a search for 10 members, and the recall of the index."""
    for rows in (args.rows, 3 * args.rows):
        scores = fit_pca(low_rank(rows), standardize=False, n_components=RANK, seed=0).transform(low_rank(rows))
        points = scores[:: rows // QUERIES][:QUERIES] + np.float32(0.5)
        print(f"{rows:,} members with {RANK} scores")
        index = first_search("  first search of a worker", scores, points[0])
        if rows > EXACT:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "lists"
                timed("  lists, written in the build", [partial(write_lists, scores, path)])
                index = first_search("  first search of a worker that reads them", scores, points[0], path)
        ours = timed("  search", [partial(index.search, point, 10) for point in points])
        plain = NearestNeighbors(n_neighbors=10).fit(scores)
        theirs = timed("  scikit-learn", [partial(plain.kneighbors, point[None]) for point in points])
        common = [len({*a.indices} & {*b[1][0]}) for a, b in zip(ours, theirs, strict=True)]
        print(f"  recall of 10 {np.mean(common) / 10:.4f}, of the worst point {min(common) / 10:.1f}")


def first_search(name: str, scores: NDArray[np.float32], point: NDArray[np.float32], file: Path | None = None) -> Any:
    """Prints milliseconds of the first search of a process; returns its index."""

    def search_once() -> MemberIndex:
        index = MemberIndex(scores, file)
        index.search(point, 10)
        return index

    return timed(name, [search_once])[0]


def searches(args: argparse.Namespace) -> None:
    """Prints milliseconds of searches over HTTP, by a real API and worker, and the worker's memory."""
    vectors = low_rank(args.rows)
    pca = fit_pca(vectors, standardize=False, n_components=RANK, seed=0)
    thumbnails = np.broadcast_to(np.full((48, 48, 3), 255, np.uint8), (args.rows, 48, 48, 3))
    names = np.array([f"set/{row}" for row in range(args.rows)])
    collection = FittedCollection(Members(vectors, thumbnails, names, np.zeros((args.rows, 0), np.int8)), pca, {})
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.start_valkey()
            stack.start_api("api.main:app")
            save_collection(collection, stack.folder / "collection.npz")
            figures = {"n_images": args.rows, "dim": DIM, "attribute_names": [], "clusterings": {}}
            path = f"/v1/collections/{registered(stack, stack.folder / 'collection.npz', figures)}/search"
            stack.start_worker("searcher", "search", app="worker.app")

            def post(query: dict[str, Any]) -> None:
                job = stack.client.post(path, json=query, headers={"Prefer": "wait=60"}).json()
                assert job["status"] == "succeeded", job

            timed(f"{args.rows:,} x {DIM}: the first search", [partial(post, {"member": 0})])
            timed("  by member", [partial(post, {"member": row}) for row in range(1, QUERIES)])
            timed("  by vector", [partial(post, {"vector": vectors[row].tolist()}) for row in range(QUERIES)])
            [child] = psutil.Process(stack.processes["searcher"].pid).children()
            print(f"  the process that searched: {child.memory_info().rss / 2**20:.0f} MB")
        finally:
            stack.stop()


def members(args: argparse.Namespace) -> None:
    """Prints milliseconds of pages of 100 members by a real API, the first of which reads the table."""
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        try:
            stack.start_valkey()
            stack.start_api("api.main:app")
            path = f"/v1/collections/{listed(stack, args.rows)}/members"
            queries: dict[str, dict[str, Any]] = {
                **{"by id": {}, "of a cluster": {"cluster": 3}, "with an attribute": {"with": "7"}},
                **{"the most isolated": {"order": "outlier_score"}, "in the middle": {"cursor": str(args.rows // 2)}},
            }
            timed(f"{args.rows:,} members: the first page", [partial(stack.client.get, path)])
            for name, query in queries.items():
                pages = timed(f"  {name}", [partial(stack.client.get, path, params=query)] * QUERIES)
                assert all(len(page.json()["members"]) == 100 for page in pages)
        finally:
            stack.stop()


def listed(stack: Stack, rows: int) -> str:
    """Makes a collection whose version has only a table of members; returns its id."""
    rng = np.random.default_rng(0)
    names = [f"set/{row}".encode() for row in range(rows)]
    table = MembersTable(
        names=np.frombuffer(b"".join(names), np.uint8),
        name_ends=np.cumsum([len(name) for name in names]),
        scores=rng.normal(size=(rows, MAX_SCORES)).astype(np.float32),
        clusters=rng.integers(CLUSTERS, size=(rows, 2), dtype=np.int32),
        maps=rng.normal(size=(rows, 2, 2)).astype(np.float32),
        attributes=rng.integers(2, size=(rows, 40), dtype=np.int8),
        outlier_scores=rng.random(rows, np.float32),
        pairs=np.zeros((0, 2), np.int32),
        pair_distances=np.zeros(0, np.float32),
        deviations=np.ones(2, np.float32),
        component_checksums=np.zeros(4, np.uint32),
        ends=np.arange(1, 2 * rows + 1).reshape(rows, 2),
        checksums=np.zeros((rows, 2), np.uint32),
        segments=np.array([2 * rows]),
        classes=rng.integers(1000, size=(rows, 3), dtype=np.int16),
        class_probabilities=rng.random((rows, 3), np.float32),
        methods=("kmeans", "mixture"),
        map_names=("tsne", "umap"),
        attribute_names=tuple(map(str, range(40))),
        class_names=tuple(map(str, range(1000))),
    )
    table.save(stack.folder / "table.npz")
    figures = {"n_images": rows, "clusterings": {"kmeans": {"n_clusters": CLUSTERS}}}
    return registered(stack, stack.folder / "table.npz", figures, TABLE)


def registered(stack: Stack, path: Path, figures: dict[str, Any], side_file: str | None = None) -> str:
    """Makes a collection whose version has one file, which may also be one of its side files; returns its id."""
    with path.open("rb") as file:
        sha = Objects(stack.settings, stack.jobs, retry_s=1).put_file(file, "application/octet-stream")
    params = {"name": "Listed", "space": "pixels"}
    job_id, _ = stack.jobs.create(NewJob(kind="collection", queue="collect", params=params, collection=NEW))
    [record] = stack.jobs.claim("collect", worker="bench")
    side_files = [{"name": side_file, "sha256": sha, "size_bytes": 1}] if side_file else []
    made = {"file": sha, "figures": figures, "side_files": side_files}
    stack.jobs.finish(job_id, record.fence, Ending("succeeded", {}, collection=made))
    return job_id.replace("job_", "col_")


def timed(name: str, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Returns the results of the calls and prints the median and the 95th percentile of their milliseconds."""
    times, results = [], []
    for call in calls:
        began = time.perf_counter()
        results.append(call())
        times.append(1000 * (time.perf_counter() - began))
    print(f"{name:40}{np.median(times):9.2f} ms   p95 {np.quantile(times, 0.95):.2f} ms", flush=True)
    return results


def low_rank(rows: int) -> NDArray[np.float32]:
    """Vectors (rows, DIM) of clusters in `RANK` directions, with a little noise."""
    rng = np.random.default_rng(0)
    centers = 3 * rng.standard_normal((CLUSTERS, RANK), np.float32)
    inside = centers[rng.integers(CLUSTERS, size=rows)] + rng.standard_normal((rows, RANK), np.float32)
    vectors = inside @ rng.standard_normal((RANK, DIM), np.float32)
    vectors += 0.3 * rng.standard_normal((rows, DIM), np.float32)
    return np.asarray(vectors, np.float32)


def measured(name: str, rounds: int, call: Callable[[], Any]) -> Any:
    """Returns the result of a call and prints its median seconds by the clock and of CPU."""
    seconds, cpu = [], []
    for _ in range(rounds):
        began, cpu_began = time.perf_counter(), time.process_time()
        result = call()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
    times = f"{statistics.median(seconds):9.2f} s {statistics.median(cpu):9.2f} s of CPU"
    print(f"{name:40}{times}   peak {peak_memory() / 1e9:.2f} GB", flush=True)
    return result


PARTS = {"fit": fit, "search": search, "searches": searches, "members": members}

if __name__ == "__main__":
    main()
