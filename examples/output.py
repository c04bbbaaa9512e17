"""Output folder of the examples: `demo/`, or on request the tracked files of this repository."""

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"


def arguments(parser: argparse.ArgumentParser, tracked: Path, flag: str = "--docs") -> argparse.Namespace:
    """Parses the arguments of a script and adds `out`, the folder to write into.

    tracked: the folder that `flag` selects, whose files are in the repository.
    """
    parser.add_argument(
        flag,
        dest="out",
        action="store_const",
        const=tracked,
        default=Path("demo"),
        help=f"write into {tracked.relative_to(ROOT)}/, over the files there (default: demo/)",
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    return args
