"""Models: list shipped, trained and added models, add one's own, download their files, and delete them."""

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Response
from fastapi.responses import StreamingResponse
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from api.access import require
from api.errors import Responses, error_responses
from api.json_route import JsonRoute
from api.service import Service, ServiceDep
from api.submit import SUBMIT_RESPONSES, SubmissionDep, submit
from jobs.errors import Conflict, NotFound
from jobs.requests.added_model import AddedModel
from jobs.requests.architectures import dim_of
from jobs.requests.base import STRICT
from jobs.requests.facts import model_cards
from jobs.schemas import Job
from jobs.store.registry import TrainedModel

router = APIRouter(tags=["models"], route_class=JsonRoute)
CARD = "card.json"
EXAMPLES: dict[str, Any] = {"share": {"summary": "For all tenants", "value": {"shared": True}}}
OWN_WEIGHTS = "zip_" + "0" * 64  # in examples: the id of an uploaded .safetensors file
ADDED: dict[str, Any] = {
    "lora": {
        "summary": "A LoRA from an uploaded file",
        "value": {
            **{"id": "ink", "title": "Ink drawings", "license": "MIT", "task": "lora"},
            **{"base": "stable-diffusion-avatars", "archive": OWN_WEIGHTS},
        },
    },
    "controlnet": {
        "summary": "A ControlNet from an uploaded file",
        "value": {
            **{"id": "edges", "title": "Edges", "license": "Apache-2.0", "task": "controlnet"},
            **{"base": "stable-diffusion-1.5", "archive": OWN_WEIGHTS},
        },
    },
    "textual inversion": {
        "summary": "A textual inversion from an uploaded file",
        "value": {
            **{"id": "cat-toy", "title": "Cat toy", "license": "MIT", "task": "textual-inversion"},
            **{"base": "stable-diffusion-avatars", "token": "<cat-toy>", "archive": OWN_WEIGHTS},
        },
    },
    "upscaler": {
        "summary": "A network that upscales by 4, from an uploaded file",
        "value": {
            **{"id": "sharp", "title": "4x Sharp", "license": "CC-BY-4.0", "task": "upscaling"},
            "archive": OWN_WEIGHTS,
        },
    },
}
ModelId = Annotated[str, Path(max_length=100, description="The id of a model.", examples=["vgg16"])]


class Model(BaseModel):
    """The card of a model, and the running workers that have its files."""

    id: str
    task: str
    title: str
    description: str
    license: Annotated[str, Field(validation_alias=AliasChoices("license", "licence"))]  # of older cards
    source: dict[str, Any]
    files: dict[str, str | None]
    architecture: Annotated[dict[str, Any], Field(description="The network by its `name`, and its shape.")] = {}
    training: Annotated[dict[str, Any], Field(description="Of a model trained here: data, settings, time.")] = {}
    quality: Annotated[dict[str, Any], Field(description="Figures of a model trained here.")] = {}
    dim: Annotated[
        int | None,
        Field(description="Values of a vector in the space of the model; null for one that encodes no images."),
    ]
    fetch_command: str | None
    installed_on: Annotated[list[str], Field(description="The running workers that have its files.")]
    trained_by: Annotated[
        str | None,
        Field(description="The job that trained it; null for a model of another tenant or that was not trained here."),
    ]
    added_by: Annotated[str | None, Field(description="The job that added it; null for one that was not added.")]
    shared: Annotated[bool, Field(description="Whether all tenants may use it; true if it came with the service.")]


class ModelList(BaseModel):
    """Every model that workers reported in the last day, and every trained or added model."""

    models: list[Model]


@router.get("/v1/models", summary="List models", responses=error_responses(503))
def list_models(service: ServiceDep) -> ModelList:
    """Returns the cards of all models that workers reported in the last day, and of all trained and added models."""
    return ModelList(models=list(_models(service).values()))


@router.post(
    "/v1/models", status_code=202, response_model=Job, summary="Add a model of your own", responses=SUBMIT_RESPONSES
)
async def add_model(params: Annotated[AddedModel, Body(openapi_examples=ADDED)], submission: SubmissionDep) -> Response:
    """A job that fetches the files of a card, loads them once and stores them; then every worker can use the model.

    Its progress counts bytes; a retry resumes where the download stopped. Needs the scope `admin`.
    """
    return await submit(submission, params)


@router.get("/v1/models/{model_id}", summary="Get a model", responses=error_responses(404, 422, 503))
def get_model(model_id: ModelId, service: ServiceDep) -> Model:
    """Returns the card of a model: source, license, file hashes, architecture and the values of a vector."""
    models = _models(service)
    if model_id not in models:
        raise _not_found(models)
    return models[model_id]


class ModelFile(BaseModel):
    """One file of a model."""

    name: Annotated[str, Field(description="Its path in the folder of the model.")]
    sha256: Annotated[
        str | None, Field(description="Of the bytes; null if it is only known after the file is fetched.")
    ]
    size_bytes: Annotated[int | None, Field(description="Null for a file that is not in object storage.")]
    url: Annotated[str | None, Field(description="Where to download it; null for a file that only workers have.")]


class ModelFiles(BaseModel):
    """The files of a model, including its card; `models.build.load_model` loads them from one folder."""

    files: list[ModelFile]
    fetch_command: Annotated[str | None, Field(description="The command that fetches files that only workers have.")]


@router.get(
    "/v1/models/{model_id}/files", summary="List the files of a model", responses=error_responses(404, 422, 503)
)
def list_model_files(model_id: ModelId, service: ServiceDep) -> ModelFiles:
    """Returns the card and the files of a model, with links to download them.

    Only workers have the files of a model that came with the service or was fetched there: their `url` is null.
    """
    card = _card(service, model_id)
    data, path = _card_json(card), f"/v1/models/{model_id}/files"
    files = [ModelFile(name=CARD, sha256=_sha256(data), size_bytes=len(data), url=f"{path}/{CARD}")]
    is_stored = _stored(service, model_id) is not None
    for name, sha in card["files"].items():
        size = service.objects.size(sha) if is_stored else None
        url = (service.objects.link(sha) or f"{path}/{name}") if is_stored else None
        files.append(ModelFile(name=name, sha256=sha, size_bytes=size, url=url))
    return ModelFiles(files=files, fetch_command=card.get("fetch_command"))


FILE: Responses = {
    200: {
        "description": "The file.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


@router.get(
    "/v1/models/{model_id}/files/{name:path}",
    summary="Download a file of a model",
    response_class=Response,
    responses=error_responses(404, 409, 422, 500, 503, also=FILE),
)
def get_model_file(
    model_id: ModelId,
    name: Annotated[str, Path(max_length=100, description="The `name` in the list of files.", examples=["card.json"])],
    service: ServiceDep,
) -> Response:
    """Returns the bytes of a file, for example `card.json`. Returns 409 for a file that only workers have."""
    card = _card(service, model_id)
    known = [CARD, *card["files"]]
    if name not in known:
        raise NotFound("file_not_found", f"The model has no such file; it has {', '.join(known)}.", allowed=known)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if name == CARD:
        return Response(_card_json(card), media_type="application/json", headers=headers)
    if _stored(service, model_id) is None:
        remedy = (
            f"run `{card['fetch_command']}`"
            if card.get("fetch_command")
            else f"copy it from models/weights/{model_id} of the code"
        )
        raise Conflict("file_not_stored", f"Only workers have this file; to get it, {remedy}.", model=model_id)
    parts = service.objects.read(card["files"][name])
    return StreamingResponse(parts, media_type="application/octet-stream", headers=headers)


@router.post(
    "/v1/models/{model_id}/unload",
    status_code=204,
    summary="Evict a model from the memory of all workers",
    responses=error_responses(404, 422, 503),
)
def unload_model(model_id: ModelId, service: ServiceDep) -> None:
    """Each worker process evicts it within a few seconds, or at the end of a job that uses it.

    The next job that needs it loads it again. Needs the scope `admin`.
    """
    get_model(model_id, service)
    service.jobs.models.unload(model_id)


class Sharing(BaseModel):
    """Who may use a trained model."""

    model_config = ConfigDict(**STRICT)

    shared: Annotated[bool, Field(description="Whether all tenants may use it.")]


@router.patch(
    "/v1/models/{model_id}",
    summary="Share a trained model",
    responses=error_responses(400, 404, 408, 409, 413, 415, 422, 503),
)
def share_model(
    model_id: ModelId, params: Annotated[Sharing, Body(openapi_examples=EXAMPLES)], service: ServiceDep
) -> Model:
    """Lets all tenants use a trained model, or only its own. Another tenant cannot delete it or share it."""
    get_model(model_id, service)
    model = _stored(service, model_id)
    if model is None or model.is_added:
        raise Conflict("model_not_shareable", "The model was not trained here; all tenants may use it.")
    service.jobs.models.share(model_id, params.shared)
    return get_model(model_id, service)


@router.delete(
    "/v1/models/{model_id}",
    status_code=204,
    summary="Delete a trained or added model",
    responses=error_responses(404, 409, 422, 503),
)
def delete_model(model_id: ModelId, service: ServiceDep) -> None:
    """Deletes a model and its files, and evicts it from the memory of workers.

    Returns 409 and their ids while jobs or collections use it. An added model needs the scope `admin`.
    """
    get_model(model_id, service)
    model = _stored(service, model_id)
    if model is None:
        raise Conflict("model_not_deletable", "Only trained and added models can be deleted; this one is neither.")
    if model.is_added:
        require(service.key, "admin")
        return service.jobs.models.remove(model_id)
    service.jobs.models.delete(model_id)


def _not_found(known: Iterable[str]) -> NotFound:
    message = f"There is no such model; the models are {', '.join(known) or 'unknown: no worker has reported any'}."
    return NotFound("model_not_found", message, allowed=list(known))


def _card(service: Service, model_id: str) -> dict[str, Any]:
    """Returns the complete card of a model; raises NotFound."""
    cards = model_cards(service.jobs)
    if model_id not in cards:
        raise _not_found(cards)
    return cards[model_id]


def _stored(service: Service, model_id: str) -> TrainedModel | None:
    """Returns a model whose files are in object storage; None for others."""
    return next((model for model in service.jobs.models.all() if model.card["id"] == model_id), None)


def _card_json(card: dict[str, Any]) -> bytes:
    """Encodes a card as the file card.json in the folder of a model."""
    stored = {name: value for name, value in card.items() if name != "fetch_command"}
    return (json.dumps(stored, indent=2) + "\n").encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _models(service: Service) -> dict[str, Model]:
    """Describes every model, by its id; every running worker can fetch a stored one from object storage."""
    workers = service.jobs.heartbeats.workers()
    known = {model.card["id"]: model for model in service.jobs.models.all()}
    models = {}
    for model_id, card in model_cards(service.jobs).items():
        stored = known.get(model_id)
        job, is_added = (stored.trained_by, stored.is_added) if stored else (None, False)
        models[model_id] = Model(
            **{"fetch_command": None, **card},
            dim=dim_of(card.get("architecture", {})),
            installed_on=[name for name, report in workers.items() if stored or model_id in report["installed"]],
            trained_by=None if is_added else job,
            added_by=job if is_added else None,
            shared=stored.is_shared if stored else True,
        )
    return models
