"""Supplies what Schemathesis cannot take from the schema: images, ids that exist, installed models.

`ATELIER_TEST_IDS` is a JSON file with the ids of uploaded `images`, `archives`, `films` and `weights`, of a `spare` one
to delete, of finished `jobs`, of `collections` and of kept `styles`, and of the requests' `own_key`, which must stay.
"""

import hashlib
import json
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from api.style_transfers import CAT, COFFEE
from jobs.requests.added_model import AddedModel
from jobs.requests.animation import Animation
from jobs.requests.collection import COLLECTION_ID, AdditionParams, CollectionParams
from jobs.requests.plots import PlotParams
from jobs.requests.search import SearchParams
from jobs.requests.steering import ClusterSampling, Steering
from jobs.requests.styles import LAYERS
from jobs.requests.training import Training
from jobs.schemas import ARCHIVE_ID
from models.catalogue import cards
from tests.api.schemathesis_cases import is_repeated, upload, zipped

known = json.loads(Path(os.environ["ATELIER_TEST_IDS"]).read_text())

# No https: URL among them, which would go out to a stranger's host (and the tests' machine may have no network).
schemathesis.openapi.format("image-ref", st.sampled_from([*known["images"], CAT, COFFEE]))
schemathesis.openapi.format("webhook-id", st.sampled_from(known["webhooks"]))
schemathesis.openapi.format("delivery-id", st.sampled_from(known["deliveries"]))
schemathesis.openapi.format("webhook-url", st.just("https://hooks.invalid/done"))
schemathesis.openapi.format("image-id", st.sampled_from(known["images"]))
schemathesis.openapi.format("archive-id", st.sampled_from(known["archives"]))
schemathesis.openapi.format("weights-id", st.just(known["weights"]))
LORA = {
    "title": "A LoRA",
    "task": "lora",
    "base": "stable-diffusion-avatars",
    "license": "MIT",
    "archive": known["weights"],
}
WEIGHTS_URL = "https://weights.invalid/a.safetensors"
schemathesis.openapi.format("weights-url", st.just(WEIGHTS_URL))
schemathesis.openapi.format("job-id", st.sampled_from(known["jobs"]))
schemathesis.openapi.format("openai-model", st.just("stable-diffusion-avatars"))
schemathesis.openapi.format("openai-size", st.sampled_from(["auto", "128x128", "256x128"]))
schemathesis.openapi.format(
    "event-id", st.from_regex(r"[0-9]{1,15}-[0-9]{1,15}", fullmatch=True, alphabet="0123456789-")
)


SEEDS = st.integers(0, 2**32 - 1)
for kind in ("png", "jpeg", "webp", "gif", "bmp", "tiff"):
    schemathesis.openapi.media_type(f"image/{kind}", SEEDS.map(partial(upload, kind=kind)))
schemathesis.openapi.media_type("application/zip", SEEDS.map(zipped))
schemathesis.openapi.format("training-data", st.sampled_from(["digits", "avatars", "smileys", *known["archives"]]))
schemathesis.openapi.format("film-id", st.sampled_from(known["films"]))
schemathesis.openapi.format("key-id", st.just(known["spare"]["key_id"]))
schemathesis.openapi.format("style-id", st.sampled_from(known["styles"]))
schemathesis.openapi.format("trained-style", st.sampled_from(known["styles"]))  # none is trained: a kept one instead
schemathesis.openapi.format("collection-id", st.sampled_from(known["collections"]))
schemathesis.openapi.format("space", st.sampled_from(["pixels", "vae-smileys"]))
schemathesis.openapi.format("attribute", st.sampled_from(["glasses", "smiling"]))
GENERATIONS = "/openai/v1/images/generations"  # of OpenAI's API
COLLECTION = "/v1/collections/{collection_id}"
PLOTS = f"{COLLECTION}/plots"
SEARCH = "/v1/collections/{collection_id}/search"
MEMBERS = "/v1/collections/{collection_id}/members"
OF_A_VERSION = [PLOTS, f"{PLOTS}/{{name}}", MEMBERS, "/v1/collections/{collection_id}/duplicates"]
OF_A_VERSION += [f"/v1/collections/{{collection_id}}/{name}" for name in ("components", "export", "columns")]
OF_A_VERSION += [f"{MEMBERS}/{{member_id}}/{file}" for file in ("thumbnail", "image")]
CHECKED: dict[str, TypeAdapter[Any]] = {
    "/v1/models": TypeAdapter(AddedModel),
    "/v1/trainings": TypeAdapter(Training),
    "/v1/collections": TypeAdapter(CollectionParams),
    "/v1/collections/{collection_id}/images": TypeAdapter(AdditionParams),
    PLOTS: TypeAdapter(PlotParams),
    SEARCH: TypeAdapter(SearchParams),
    "/v1/pc-steerings": TypeAdapter(Steering),
    "/v1/cluster-samplings": TypeAdapter(ClusterSampling),
    "/v1/pc-animations": TypeAdapter(Animation),
}
ARCHITECTURES = {name: card.architecture for name, card in cards().items()}


NOTHING = {"type": "null"}
NAMING: dict[str, dict[str, Any]] = {  # fields that name models, or clusters of the collection
    "ClusterNames": {"version": {"enum": [1, None]}},
    "ClusterName": {"cluster": {"enum": [0, 1]}, "clustering": {"enum": ["kmeans", None]}},
    "Translation": {"model": {"enum": ["cyclegan-avatars-glasses"]}},
    "Variation": {"model": {"enum": ["kandinsky-avatars", None]}},
    "Upscaling": {"model": {"enum": ["realesr-animevideov3"]}},
    "LoraTraining": {"model": {"enum": ["stable-diffusion-avatars"]}},
    "StableDiffusionTraining": {
        **{"clip": {"enum": ["kandinsky-avatars"]}, "autoencoder": {"enum": ["stable-diffusion-avatars"]}},
    },
    "KandinskyTraining": {
        **{"clip": {"enum": ["kandinsky-avatars"]}, "autoencoder": {"enum": ["kandinsky-avatars"]}},
        "image_size": NOTHING,  # that of the CLIP
    },
}


def installed_models(schemas: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Fields that depend on the installed models and the collection, with one choice of them for each schema."""
    some_attributes = {"type": "array", "items": {"enum": ["glasses", "smiling"]}, "maxItems": 1}
    prompted = {
        "model": {"enum": ["stable-diffusion-avatars", None]},
        **{"width": {"enum": [64, 96, None]}, "height": {"enum": [64, 96, None]}},
        "num_inference_steps": {"enum": [20, None]},  # so that any strength leaves at least one
        "clip_skip": {"enum": [0, 1, 2, None]},  # of three layers
        **{key: {"type": "array", "maxItems": 0} for key in ("loras", "textual_inversions")},  # none are there
        **{"control": NOTHING, "image_prompt": NOTHING, "hires_strength": NOTHING, "hires_upscaler": NOTHING},
    }
    return {
        "Sample": {"model": {"enum": ["ddpm-avatars"]}, "attributes": {"anyOf": [some_attributes, NOTHING]}},
        "Reconstruction": {"model": {"enum": ["vae-smileys"]}},
        "Interpolation": {
            "model": {"enum": ["vae-smileys"]},
            **{"num_inference_steps": NOTHING, "scheduler": NOTHING, "guidance_scale": NOTHING},
        },
        "Traversal": {"model": {"enum": ["vae-fashion-mnist-2"]}},
        "Arithmetic": {"model": {"enum": ["dcgan-avatars"]}, "classifier": NOTHING},
        "TextToImage": prompted,
        "ImageToImage": prompted,
        "Inpainting": {
            **prompted,
            **{"image": {"enum": known["images"][:1]}, "mask": {"enum": known["images"][:1]}, "expand": NOTHING},
        },
        "DiffusionTransfer": {
            "model": {"enum": ["stable-diffusion-avatars"]},
            "prompt": schemas["TextToImage"]["properties"]["prompt"],
            **{"strength": NOTHING, "guided_from": {"enum": [0, 0.25]}, "guided_to": {"enum": [0.5, 1]}},
        },
        "MaskedImage": {"mask": NOTHING, "style_mask": NOTHING},  # a mask has the size of its image
        "GatysTransfer": {"init": {"enum": ["content", "style", "noise", "fast"]}, "init_image": NOTHING},
        "ManyTransfers": {"size": {"enum": [64, 512]}},
        "CollectionParams": {"space": {"enum": ["pixels", "vae-smileys"]}, "vectors": NOTHING},
        **{"AdditionParams": {"vectors": NOTHING}, "DenoisingSteps": {"model": {"enum": ["ddpm-avatars"]}}},
        "DdpmTraining": {"attributes": some_attributes},
        **NAMING,
        # The collection has two components, two clusters and the attributes of smileys.
        "Component": {"component": {"enum": [0, 1]}},
        "AttributeDirection": {"attribute": {"enum": ["large"]}},
        "ClusterStart": {"cluster": {"enum": [0, 1]}, "clustering": {"enum": ["kmeans", None]}},
        "ComponentPath": {"component": {"enum": [0, 1]}},
        "AttributePath": {"attribute": {"enum": ["large"]}},
        "ClusterPath": {"cluster": {"enum": [0, 1]}, "clustering": {"enum": ["kmeans", None]}},
        "Animation": {"version": {"enum": [1, None]}, "n_frames": {"enum": [2, 12]}},
        "ClusterSampling": {
            **{"version": {"enum": [1, None]}, "cluster": {"enum": [0, 1]}, "clustering": {"enum": ["kmeans", None]}},
        },
        "PlotParams": {
            **{"version": {"enum": [1, None]}, "clustering": {"enum": ["kmeans", None]}},
            **{"component": {"enum": [0, 1, None]}, "attribute": {"enum": ["large", None]}},
        },
        "SearchParams": {
            **{"version": {"enum": [1, None]}, "cluster": {"enum": [0, 1, None]}, "member": {"enum": [0, 5, None]}},
            **{"clustering": {"enum": ["kmeans", None]}, "text": NOTHING, "vector": NOTHING},
            **{"with": {"enum": [["large"], None]}, "without": {"enum": [["large"], None]}},
        },
        "Steering": {"version": {"enum": [1, None]}, "style_components": {"enum": [1, 2, None]}},
    }


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Restricts the schema to requests that the installed models can run."""
    schemas = raw_schema["components"]["schemas"]
    fitting = installed_models(schemas)
    # No repository, which would be looked for at the hub.
    fitting["AddedModel"] = {"base": {"enum": ["stable-diffusion-avatars", "sdxl"]}, "repository": NOTHING}
    fitting["AddedModel"] |= {"files": {"type": "object", "maxProperties": 0}, "token": {"enum": ["<cat>", None]}}
    # No installed model has the shape that the other fields ask for.
    startable = [name for name in schemas if name.endswith("Training") and "start" in schemas[name]["properties"]]
    fitting |= {name: fitting.get(name, {}) | {"start": NOTHING} for name in startable}
    for name in ("StableDiffusionTraining", "KandinskyTraining"):
        schemas[name]["required"] += ["clip", "autoencoder"]  # or `start`, which is left out above
    schemas["DiffusionTransfer"]["required"].append("prompt")
    schemas["ImageEdit"]["required"].append("image")  # under either name
    for name in ("image[]", "mask"):  # a mask has the size of its image, and transparent pixels
        del schemas["ImageEdit"]["properties"][name]
    schemas["Inpainting"]["required"].append("mask")  # or `expand`, which is left out above
    for name, properties in fitting.items():
        own = schemas[name]["properties"]
        own |= {field: schema for field, schema in properties.items() if field in own}
    without_examples(schemas, "trained-style")
    for path in OF_A_VERSION:
        parameters = {parameter["name"]: parameter for parameter in raw_schema["paths"][path]["get"]["parameters"]}
        parameters["version"]["schema"] = {"enum": [1]}
        if path == MEMBERS:
            parameters["cluster"]["schema"] = {"enum": [0, 1]}
            parameters["clustering"]["schema"] = {"enum": ["kmeans"]}
            for name in ("with", "without"):
                parameters[name]["schema"]["items"] = {"enum": ["large"]}
            raw_schema["paths"][path]["get"]["parameters"].remove(parameters["class"])  # its members have none
    for schema in schemas.values():
        if "upscaler" in schema.get("properties", {}):
            schema["properties"]["upscaler"] = NOTHING
    for path, field, value in ((PLOTS, "attribute", "large"), ("/v1/style-transfers", "film", known["films"][0])):
        content = raw_schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        content["examples"][field]["value"][field] = value
    # The collection's space encodes no texts and paints no content.
    for name in ("Steering", "ClusterSampling", "Animation"):
        schemas[name]["properties"] |= {"content": NOTHING, "size": NOTHING}
    for name in ("Steering", "ComponentPath", "AttributePath"):
        without_texts_and_styles(schemas[name]["properties"]["start"])
    without_texts_and_styles(schemas["Steering"]["properties"]["style_from"]["anyOf"][0])
    without_texts_and_styles(schemas["PointsPath"]["properties"]["through"]["items"])
    dimensions = ARCHITECTURES["vae-fashion-mnist-2"]["latent_dim"]
    schemas["Traversal"]["properties"]["dimensions"]["anyOf"][0]["items"]["maximum"] = dimensions - 1
    length = ARCHITECTURES["dcgan-avatars"]["latent_dim"]
    schemas["VectorTerm"]["properties"]["z"] |= {"minItems": length, "maxItems": length}
    attributes = schemas["AttributeTerm"]["properties"]
    attributes["with"]["items"] = {"enum": ["woman", "glasses"]}
    attributes["without"]["items"] = {"enum": ["hat", "smiling"]}
    schemas["DirectionTerm"]["properties"]["attribute"] = {"enum": ["woman", "glasses"]}


def without_texts_and_styles(start: dict[str, Any]) -> None:
    """Leaves out what the collection's space does not have: texts, styles, and the style of the content."""
    absent = ("#/components/schemas/TextStart", "#/components/schemas/StyleVector", "photo", "style-id")
    start["oneOf"] = [kind for kind in start["oneOf"] if not {*kind.values()} & {*absent}]


def without_examples(part: Any, of_format: str) -> None:
    """Leaves out the examples of a format, which name what does not exist here."""
    if isinstance(part, dict):
        if part.get("format") == of_format:
            part.pop("examples", None)
        part = list(part.values())
    for each in part if isinstance(part, list) else ():
        without_examples(each, of_format)


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Without what the schema allows and a 422 refuses: VGG-19 where it is not installed, and what does not fit."""
    body = case.body if isinstance(case.body, dict) else {}
    query = case.query or {}
    if unfit(case) or ("clustering" in query and "cluster" not in query):
        return False
    if case.operation.path == GENERATIONS and (not case.meta or case.meta.generation.mode.is_positive):
        return False  # a valid one would wait for its images, behind the jobs of all other requests
    if case.operation.path == "/v1/models" and body.get("url") not in (None, WEIGHTS_URL):
        return False  # of a host that may not be public
    if case.operation.path == "/v1/styles" and body.get("job"):
        return False  # none of the jobs made an image in the space of styles
    if body.get("eta") is not None and body.get("scheduler") not in ("ddim", "tcd"):
        return False  # the others have no eta
    defaults = body.get("defaults")
    schedulers = defaults.get("schedulers") if isinstance(defaults, dict) else None
    if isinstance(defaults, dict) and isinstance(schedulers, list):
        return defaults.get("scheduler") in schedulers  # which must have the default one
    if not {*re.findall("style-[0-9a-f]{12}", str(body))} <= {*known["styles"]}:
        return False  # no such style was trained or kept
    layers = [body.get(name) for name in ("content_layers", "style_layers", "layers")]
    named = [layer for names in layers if isinstance(names, list) for layer in names]
    terms = body.get("terms")
    if isinstance(terms, list) and (body.get("n") or body.get("averaged")):
        return any(isinstance(term, dict) and {"with", "without"} & term.keys() for term in terms)
    only_vgg19 = set(LAYERS["vgg19"]) - set(LAYERS["vgg16"])
    return body.get("model") != "vgg19" and not any(layer == name for layer in named for name in only_vgg19)


@schemathesis.hook("filter_case")
def filter_repeated(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Without what another kind of the body has sent; after `filter_case`, so that what it leaves out is not noted."""
    return not is_repeated(case)


@schemathesis.hook
def before_add_examples(context: schemathesis.HookContext, examples: list[schemathesis.Case[Any]]) -> None:
    """Schemathesis completes examples by itself, and does not filter what comes of it."""
    examples[:] = [case for case in examples if not unfit(case)]


def unfit(case: schemathesis.Case[Any]) -> bool:
    """Whether each field of a training or a collection is right by itself, and they do not go together."""
    if case.operation.path not in CHECKED:
        return False
    try:
        CHECKED[case.operation.path].validate_python(case.body)
    except ValidationError as error:
        return {problem["type"] for problem in error.errors()} <= {"request"}
    return False


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """A valid key is made one of this request alone: the schema cannot say that two requests may not share a key."""
    if case.method == "DELETE" and case.operation.path.startswith(("/v1/images/", "/v1/archives/")):
        keep_uploads(case)
    if case.path_parameters.get("key_id") == known["own_key"]:
        case.path_parameters["key_id"] = known["spare"]["key_id"]
    if case.operation.path.endswith("/events") and str(case.path_parameters.get("job_id")).startswith("job_"):
        case.path_parameters["job_id"] = known["jobs"][0]  # which has ended: the stream of a queued job is long
    if str(case.path_parameters.get("style_id")).startswith("builtin"):  # which the list of styles has too
        case.path_parameters["style_id"] = known["styles"][0]
    named = case.operation.path in (MEMBERS, SEARCH) or (case.method == "POST" and case.operation.path == PLOTS)
    named = named or (case.method == "PATCH" and case.operation.path == COLLECTION)
    if named:
        name_known_collection(case)
    if case.method == "POST" and case.operation.path == "/v1/models" and isinstance(case.body, dict):
        add_known_weights(case, case.body)
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch(r"[\x21-\x7e]{1,200}", key):
        request = f"{case.formatted_path} {case.body!r}".encode()
        case.headers["Idempotency-Key"] = hashlib.sha256(request).hexdigest()


def name_known_collection(case: schemathesis.Case[Any]) -> None:
    """Parts are named of the collection whose parts are known here, not of one that this run has made."""
    if re.fullmatch(COLLECTION_ID, str(case.path_parameters["collection_id"])):
        case.path_parameters["collection_id"] = known["collections"][0]


def add_known_weights(case: schemathesis.Case[Any], body: dict[str, Any]) -> None:
    """Links, which are not filtered, name archives without weights and put fields together that do not go together."""
    if re.fullmatch(ARCHIVE_ID, str(body.get("archive"))):
        body["archive"] = known["weights"]
    if unfit(case):
        case.body = {"id": body["id"], **LORA}


def keep_uploads(case: schemathesis.Case[Any]) -> None:
    """Uploads that other requests name are not deleted: another stands for them."""
    [(name, value)] = case.path_parameters.items()
    if value in (*known["images"], *known["archives"], *known["films"]):
        case.path_parameters[name] = known["spare"][name]
