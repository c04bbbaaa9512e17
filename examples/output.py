"""Where the examples write: into `demo/`, and over the files of this repository only on request."""

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"


def arguments(parser: argparse.ArgumentParser, tracked: Path, flag: str = "--docs") -> argparse.Namespace:
    """The arguments of a script, with `out`: the folder to write into.

    tracked: the folder that `flag` chooses, whose files the repository keeps.
    """
    parser.add_argument(
        flag,
        dest="out",
        action="store_const",
        const=tracked,
        default=Path("demo"),
        help=f"write into {tracked.relative_to(ROOT)}/, over the files there; else into demo/",
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    return args
