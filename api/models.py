"""Models: what can be run, where it is from and whether a worker has it; trained ones can be deleted."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from api.errors import error_responses
from api.service import Service, ServiceDep
from jobs.errors import Conflict, NotFound
from jobs.registry import TrainedModel

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
    trained_by: Annotated[
        str | None, Field(description="The job it was trained by, if one did; every worker can then use it.")
    ]


class ModelList(BaseModel):
    """Every model the workers know, and every model trained here."""

    models: list[Model]


@router.get("/v1/models", summary="Models and where they are installed", responses=error_responses(503))
def list_models(service: ServiceDep) -> ModelList:
    """The cards of all models that living workers know, and of all that were trained here."""
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


@router.delete(
    "/v1/models/{model_id}",
    status_code=204,
    summary="Delete a trained model",
    responses=error_responses(404, 409, 422, 503),
)
def delete_model(model_id: ModelId, service: ServiceDep) -> None:
    """Remove a trained model and its files. One that unfinished jobs or collections use answers 409 and names them."""
    model = get_model(model_id, service)
    if model.trained_by is None:
        raise Conflict("model_not_deletable", "The model came with the service; only trained ones can be deleted.")
    service.jobs.delete_model(model_id)


def _models(service: Service) -> list[Model]:
    workers = service.jobs.workers()
    cards = {card["id"]: card for facts in workers.values() for card in facts["cards"]}
    shipped = [
        Model(
            **card,
            installed_on=[name for name, facts in workers.items() if card["id"] in facts["installed"]],
            trained_by=None,
        )
        for card in cards.values()
    ]
    trained = [_trained(model, sorted(workers)) for model in service.jobs.models()]
    return sorted([*shipped, *trained], key=lambda model: model.id)


def _trained(model: TrainedModel, workers: list[str]) -> Model:
    """Any worker fetches it from object storage when it needs it."""
    return Model(**model.card, fetch_command=None, installed_on=workers, trained_by=model.trained_by)
