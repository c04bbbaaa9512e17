"""Opens an export in embedding-atlas and compares its map with ours: `python -m bench.atlas [--rows 20000]`.

embedding-atlas is no dependency. A virtual environment that is removed at the end gets its package, and those of its
dependencies that open a file and project vectors: no torch. Where they cannot be installed, a sentence says so.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
from PIL import Image

from bench.spaces import CLUSTERS, DIM, low_rank, measured
from models.space.collection import FittedCollection, MapName, Members, fit_collection
from models.space.export import write_atlas, write_parquet
from models.space.maps import map_of
from tests.stack import free_port, wait_until

PACKAGE = "embedding-atlas==0.26.0"
SERVER = (
    *("click", "cryptography", "duckdb", "fastapi", "inquirer", "narwhals", "pandas", "pillow", "platformdirs"),
    *("pyarrow", "tqdm", "umap-learn", "uvicorn", "uvloop", "websockets"),
)
PCA = {"n_components": None, "explained_variance": 0.99, "standardize": False}
WARM = 500  # rows of a first map, for which numba compiles
QUERY = "SELECT count(*) AS n, avg(tsne_x) AS x, avg(tsne_y) AS y, count(thumbnail) AS images FROM dataset"
PROJECT = """
import sys, time
import numpy as np, pandas
from embedding_atlas.projection import compute_projection
frame = pandas.read_parquet(sys.argv[1], columns=["id", "vector"])
few = frame.head(int(sys.argv[3]))
arguments = {"inputs": "vector", "modality": "vector", "cache_root": sys.argv[2], "umap_args": {"random_state": 0}}
compute_projection(few, **arguments)  # numba compiles
clock, cpu = time.perf_counter(), time.process_time()
compute_projection(frame, **arguments)
print(time.perf_counter() - clock, time.process_time() - cpu)
"""


def main() -> None:
    """Prints seconds of both maps, and those until embedding-atlas has answered a query about our export."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    rows: int = parser.parse_args().rows
    with TemporaryDirectory() as folder:
        root = Path(folder)
        python = _installed(root)
        if python is None:
            return
        print(f"{rows:,} x {DIM} float32")
        collection = _collection(rows)
        write_parquet(collection, np.zeros(rows, np.float32), root / "members.parquet")
        _print_projection(python, root)
        path = root / "atlas.parquet"
        write_atlas(collection, np.zeros(rows, np.float32), [_thumbnail()] * rows, path)
        _open(python.parent / "embedding-atlas", path, collection)


def _installed(root: Path) -> Path | None:
    """The interpreter of a new environment with embedding-atlas; None, with a sentence, where it is not to be had."""
    python = root / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
    for arguments in (["--no-deps", PACKAGE], SERVER):
        made = subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], capture_output=True, text=True)
        if made.returncode:
            print(f"Skipped: {PACKAGE} cannot be installed here: {made.stderr.strip().splitlines()[-1]}")
            return None
    return python


def _collection(rows: int) -> FittedCollection:
    thumbnails = np.zeros((rows, 1, 1, 3), np.uint8)
    members = Members(low_rank(rows), thumbnails, np.arange(rows).astype(str), np.zeros((rows, 0), np.int8), ())
    clusterings = [{"method": "kmeans", "n_clusters": CLUSTERS}]
    collection = fit_collection(members, pca=PCA, clusterings=clusterings, seed=0)
    map_of("umap", collection.scores[:WARM], seed=0)
    names: tuple[MapName, ...] = ("umap", "tsne")
    maps = {name: measured(f"{name} here", 1, partial(map_of, name, collection.scores, seed=0)) for name in names}
    return replace(collection, maps=maps)


def _print_projection(python: Path, root: Path) -> None:
    """Prints the seconds of embedding-atlas's own map of the vectors."""
    command = [str(python), "-c", PROJECT, str(root / "members.parquet"), str(root / "cache"), str(WARM)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"embedding-atlas projects nothing: {done.stderr.strip().splitlines()[-1]}")
        return
    clock, cpu = map(float, done.stdout.split()[-2:])
    print(f"{'umap by embedding-atlas, cosine':40}{clock:9.2f} s {cpu:9.2f} s of CPU")


def _thumbnail() -> bytes:
    file = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def _open(command: Path, path: Path, collection: FittedCollection) -> None:
    """Starts its server with the export and prints the seconds until it has answered, checking the answer."""
    url = f"http://127.0.0.1:{(port := free_port())}/data/query"
    options = ["--x", "tsne_x", "--y", "tsne_y", "--image", "thumbnail", "--port", str(port)]
    began = time.perf_counter()
    server = subprocess.Popen([command, path, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        [row] = wait_until(lambda: _answer(url), 300, "embedding-atlas")
    finally:
        server.terminate()
        server.wait()
    seconds, megabytes = time.perf_counter() - began, path.stat().st_size / 2**20
    expected = [len(collection.members), *collection.maps["tsne"].mean(0, dtype=np.float64), len(collection.members)]
    np.testing.assert_allclose([row["n"], row["x"], row["y"], row["images"]], expected, atol=1e-3)
    print(f"embedding-atlas answers about our export of {megabytes:.1f} MB {seconds:.1f} s after its start")


def _answer(url: str) -> list[dict[str, Any]] | None:
    try:
        rows: list[dict[str, Any]] = (
            httpx.post(url, content=json.dumps({"type": "json", "sql": QUERY})).raise_for_status().json()
        )
    except httpx.TransportError:
        return None
    return rows


if __name__ == "__main__":
    main()
