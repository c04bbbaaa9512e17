"""GET /v1/models: what can be run, where it is from and whether a worker has it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel

from api.errors import error_responses
from api.service import Service, ServiceDep
from jobs.errors import NotFound

router = APIRouter(tags=["models"])
ModelId = Annotated[str, Path(max_length=100, description="A model's id.", examples=["vgg16"])]


class Model(BaseModel):
    """A model's card, and the workers that have its files."""

    id: str
    task: str
    title: str
    description: str
    licence: str
    source: dict[str, Any]
    files: dict[str, str | None]
    fetch_command: str | None
    installed_on: list[str]


class ModelList(BaseModel):
    """Every model the workers know."""

    models: list[Model]


@router.get("/v1/models", summary="Models and where they are installed", responses=error_responses(503))
def list_models(service: ServiceDep) -> ModelList:
    """The cards of all models that living workers know; empty while no worker is up."""
    return ModelList(models=_models(service))


@router.get("/v1/models/{model_id}", summary="One model's card", responses=error_responses(404, 422, 503))
def get_model(model_id: ModelId, service: ServiceDep) -> Model:
    """Source, licence and hashes of one model."""
    models = _models(service)
    found = next((model for model in models if model.id == model_id), None)
    if found is None:
        message = (
            f"No model is called that; there are {', '.join(m.id for m in models) or 'none while no worker is up'}."
        )
        raise NotFound("model_not_found", message, allowed=[model.id for model in models])
    return found


def _models(service: Service) -> list[Model]:
    workers = service.jobs.workers()
    cards = {card["id"]: card for facts in workers.values() for card in facts["cards"]}
    return [
        Model(**card, installed_on=[name for name, facts in workers.items() if card["id"] in facts["installed"]])
        for _, card in sorted(cards.items())
    ]
