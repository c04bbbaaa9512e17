"""How the worker's processes log."""

import logging


def configure_logging() -> None:
    """One line a record on standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
