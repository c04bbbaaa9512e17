"""Signs outputs by the operator's certificate: a C2PA manifest in each file says what made it, and any change shows."""

import sys
from collections.abc import Mapping
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from jobs.errors import AtelierError
from jobs.requests.base import Request
from jobs.schemas import Role
from jobs.settings import Settings

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MODELS = "org.atelier.models"  # label of the assertion with the ids and revisions of the models


def sign(data: bytes, content_type: str, source_type: str, models: Mapping[str, str], settings: Settings) -> bytes:
    """Adds a signed manifest to an output file, or returns it as it is where signing is off.

    Raises AtelierError `signing_failed`, for example when the certificate has expired since the start.
    """
    if not settings.c2pa_certificates:
        return data
    from c2pa import C2paError

    try:
        return _signed(data, content_type, _manifest(source_type, models), settings)
    except (C2paError, OSError) as error:
        message = f"The output could not be signed with the operator's certificate: {error}."
        raise AtelierError("signing_failed", message) from error


def source_type_of(role: Role, params: Request) -> str:
    """IPTC's digital source type of an output: of models alone, of models and images of the request, or a plot."""
    if role == "plot":
        return "dataDrivenMedia"
    return "compositeWithTrainedAlgorithmicMedia" if params.image_refs() else "trainedAlgorithmicMedia"


def check_signing(settings: Settings) -> None:
    """Signs a small image; exits with one sentence where the settings, the certificate or the key do not allow that."""
    given = {"certificates": settings.c2pa_certificates, "key": settings.c2pa_key}
    lacking = [name for name, path in given.items() if path is None]
    if len(lacking) == 2:
        return
    if lacking:
        sys.exit(f"ATELIER_C2PA_{lacking[0].upper()} is needed to sign outputs.")
    try:
        from c2pa import C2paError
    except ImportError:
        sys.exit("ATELIER_C2PA_CERTIFICATES needs the extra c2pa: pip install 'atelier[c2pa]'.")
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    try:
        _signed(file.getvalue(), "image/png", _manifest("trainedAlgorithmicMedia", {}), settings)
    except OSError as error:
        sys.exit(f"{error.filename}, which ATELIER_C2PA_* names, cannot be read: {error.strerror}.")
    except C2paError as error:
        sys.exit(f"ATELIER_C2PA_CERTIFICATES and ATELIER_C2PA_KEY cannot sign outputs: {error}.")


def _signed(data: bytes, content_type: str, manifest: Mapping[str, Any], settings: Settings) -> bytes:
    """The file with its manifest, which the library verifies before it returns it; raises C2paError and OSError."""
    from c2pa import Builder, C2paSignerInfo, Context, Signer

    # The file is the image: a thumbnail of it would take more bytes and time than all else.
    context = Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
    chain, key = settings.c2pa_certificates or Path(), settings.c2pa_key or Path()
    # Read each time: a renewed certificate counts at once, and a signer does not survive a fork.
    info = C2paSignerInfo(settings.c2pa_algorithm, chain.read_bytes(), key.read_bytes(), None)
    signed = BytesIO()
    with Builder.from_json(dict(manifest), context=context) as builder, Signer.from_info(info) as signer:
        builder.sign(signer, content_type, BytesIO(data), signed)
    return signed.getvalue()


def _manifest(source_type: str, models: Mapping[str, str]) -> dict[str, Any]:
    tool = {"name": "Atelier", "version": version("atelier")}
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPES + source_type, "softwareAgent": tool}
    actions = {"label": "c2pa.actions.v2", "data": {"actions": [created]}}
    made_by = {"label": MODELS, "data": {"models": dict(models)}}
    return {"claim_generator_info": [tool], "assertions": [actions, made_by]}
