"""Starts the service, sends it photographs, follows a job and writes the images to `demo/`.

`scripts/demo` runs it. `_painted` is what a client needs; the rest starts and stops the service.
"""

import argparse
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw, ImageOps

from atelier_client import Atelier, AtelierError
from atelier_client.errors import ServiceUnreachableError

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT / "examples" / "photos"
OUT = Path("demo")
START_TIMEOUT_S = 90
CELL = 360  # width of a column of the sheet, in pixels
CAPTION = 28


@dataclass(frozen=True)
class Result:
    """A row of the sheet: inputs, output and duration."""

    title: str
    photo: Path
    style: Path | None
    image: Path
    seconds: float


def main() -> None:
    """Starts the service, runs three jobs, writes their images and stops the service."""
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    OUT.mkdir(exist_ok=True)
    with _service(args.keep) as url:
        print(
            f"The service is up at {url} after {time.monotonic() - started:.1f} s; its API is described at {url}/docs"
        )
        results = _results(Atelier(url), args)
        sheet = _sheet(results)
        for result in results:
            print(f"{result.image}  {result.title}, {result.seconds:.1f} s")
        print(f"{sheet}  photo, style and result side by side")
        print(f"Done in {time.monotonic() - started:.0f} s.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Atelier from start to end in a minute.")
    parser.add_argument("--photo", type=Path, default=PHOTOS / "astronaut.jpg", help="the photo to paint (%(default)s)")
    parser.add_argument("--style", type=Path, default=PHOTOS / "strokes.jpg", help="the style image (%(default)s)")
    parser.add_argument("--size", type=int, default=384, help="longer side of the optimized image (%(default)s)")
    parser.add_argument("--num-steps", type=int, default=80, help="steps of the optimization (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="do not stop the service at the end")
    args = parser.parse_args()
    for path in (args.photo, args.style):
        if not path.is_file():
            parser.error(f"there is no file {path}")
    return args


def _results(atelier: Atelier, args: argparse.Namespace) -> list[Result]:
    fast = {"method": "fast", "content": args.photo, "size": 512}
    gatys = {"method": "gatys", "content": args.photo, "size": args.size, "num_steps": args.num_steps, "seed": 1}
    return [
        _painted(atelier, "fast-builtin", "built-in style 19, one pass", **fast, style="builtin:19"),
        _painted(atelier, "fast-image", "style image, one pass", **fast, style=args.style),
        _painted(atelier, "gatys", "style image, optimized (Gatys et al.)", **gatys, style=args.style),
    ]


def _painted(atelier: Atelier, name: str, title: str, **request: Any) -> Result:
    """Runs a style transfer and saves its image."""
    started = time.monotonic()
    job = atelier.style_transfer(**request)
    try:
        job.wait(progress=request["method"] == "gatys")
    except (KeyboardInterrupt, SystemExit):
        job.cancel()  # else the next start would run it again
        raise
    path = job.outputs[0].save(OUT / f"{name}.png")
    style = request["style"] if isinstance(request["style"], Path) else None
    return Result(title, request["content"], style, path, time.monotonic() - started)


def _sheet(results: list[Result]) -> Path:
    """Writes a row for each result: photo, style, result, and a caption below."""
    rows = [_row(result) for result in results]
    sheet = Image.new("RGB", (CELL * 3, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(OUT / "sheet.png")
    return OUT / "sheet.png"


def _row(result: Result) -> Image.Image:
    cells = {
        column: ImageOps.contain(ImageOps.exif_transpose(Image.open(path)).convert("RGB"), (CELL - 8, CELL - 8))
        for column, path in enumerate((result.photo, result.style, result.image))
        if path
    }
    height = max(cell.height for cell in cells.values())
    row = Image.new("RGB", (CELL * 3, height + CAPTION), "white")
    for column, cell in cells.items():
        row.paste(cell, (column * CELL + (CELL - cell.width) // 2, (height - cell.height) // 2))
    ImageDraw.Draw(row).text((8, height + 4), f"{result.title}: {result.seconds:.1f} s", "black", font_size=14)
    return row


@contextmanager
def _service(keep: bool) -> Iterator[str]:
    """Runs the service with its data in `data/demo/`; stops it at the end unless `keep` is true."""
    data = Path("data") / "demo"
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        _lock(lock.fileno(), data)
        port = _api_port()
        with (data / "log").open("w") as log:
            process = _start(data, port, log.fileno(), lock.fileno())
        kept = False
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}", data / "log")
            yield f"http://127.0.0.1:{port}"
            kept = keep
        except ServiceUnreachableError as error:
            sys.exit(f"{_tail(data / 'log')}\nThe service stopped answering ({error}); the end of its log is above.")
        except AtelierError as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit("Stopped.")
        finally:
            if kept:
                print(f"The service stays up at http://127.0.0.1:{port}; stop it with: kill {process.pid}")
            else:
                _stop(process)


def _lock(lock: int, data: Path) -> None:
    """Locks `data` for this run; the service inherits the lock, so two Valkeys never share one append-only file."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"Another demo uses {data}: stop that one first.")


def _api_port() -> int:
    """Returns ATELIER_PORT if it is set, else 8000, or a free port if 8000 is taken."""
    named = os.environ.get("ATELIER_PORT")
    port = int(named or 8000)
    if _is_free(port):
        return port
    if named:
        sys.exit(f"Port {port} is taken: set ATELIER_PORT to a free one, or leave it out.")
    return _free_port()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(data: Path, port: int, log: int, lock: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "ATELIER_HOST": "127.0.0.1",
        "ATELIER_PORT": str(port),
        "ATELIER_REDIS_URL": f"redis://127.0.0.1:{_free_port()}/0",
        "ATELIER_STORAGE_URL": str(data / "objects"),
        "ATELIER_DATA_DIR": str(data),
    }
    # A session of its own: Ctrl-C reaches this program only, which then stops the service in order.
    command = [str(ROOT / "scripts" / "run")]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(lock,),
    )


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _ready(url):
        if process.poll() is not None:
            sys.exit(f"{_tail(log)}\nThe service stopped while it started; the end of {log} is above.")
        if time.monotonic() > deadline:
            sys.exit(f"{_tail(log)}\nThe service was not ready after {START_TIMEOUT_S} s; the end of {log} is above.")
        time.sleep(0.2)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _tail(log: Path, lines: int = 25) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stops `scripts/run`, which stops the rest in order."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    main()
