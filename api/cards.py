"""The cards of models, for routes that fill in what depends on a model before a job is queued."""

from typing import Any

from api.service import Service
from jobs.errors import Unavailable

Card = dict[str, Any]


def known_cards(service: Service) -> dict[str, Card]:
    """The cards of all models the workers know and of all trained here, by id."""
    # Workers that are away for the moment count: the job waits for them.
    workers = service.jobs.heartbeats.workers(silence_s=86400)
    if not workers:
        raise Unavailable("no_worker", "No worker that knows the models has ever reported; try again shortly.")
    shipped = [card for facts in workers.values() for card in facts["cards"]]
    return {card["id"]: card for card in (*shipped, *(model.card for model in service.jobs.models.all()))}
