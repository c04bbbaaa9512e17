"""Logging of workers and upkeep."""

import logging


def configure_logging() -> None:
    """Logs one line per record to standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
