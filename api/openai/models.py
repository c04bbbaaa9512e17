"""GET /openai/v1/models: the models that the other paths take."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.openai.documented import openai_responses
from api.openai.fields import OpenAIModel, OpenAIModelList
from api.openai.translate import model_not_found, usable_cards
from api.service import ServiceDep

router = APIRouter(tags=["openai"])


@router.get("/openai/v1/models", summary="List models (OpenAI's API)", responses=openai_responses(503))
def openai_list_models(service: ServiceDep) -> OpenAIModelList:
    """Returns the installed models that make images of texts or vary images."""
    return OpenAIModelList(data=[OpenAIModel(id=name) for name in usable_cards(service.jobs)])


@router.get(
    "/openai/v1/models/{model_id}", summary="Get a model (OpenAI's API)", responses=openai_responses(404, 422, 503)
)
def openai_get_model(
    model_id: Annotated[
        str, Path(max_length=100, description="The id of a model.", examples=["stable-diffusion-avatars"])
    ],
    service: ServiceDep,
) -> OpenAIModel:
    """Returns a model of the list."""
    known = usable_cards(service.jobs)
    if model_id not in known:
        raise model_not_found(model_id, known)
    return OpenAIModel(id=model_id)
