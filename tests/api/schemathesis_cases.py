"""Files to upload, and which cases of Schemathesis repeat others."""

import io
import re
import zipfile
from typing import Any

import numpy as np
import schemathesis
from PIL import Image

_sent: set[tuple[str, str, str]] = set()  # operations, fields and their values


def upload(seed: int, kind: str) -> bytes:
    """An image file of noise: no other request uploads the same bytes, so that none deletes what another stored."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def zipped(seed: int) -> bytes:
    """An archive of one image."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("image", upload(seed, "PNG"))
    return file.getvalue()


def is_repeated(case: schemathesis.Case[Any]) -> bool:
    """Whether this value of a field was sent before in another kind of the body, most of whose fields are the same.

    Of the phase of coverage, which would send each wrong and each boundary value in each of a dozen kinds.
    """
    if case.meta is None or not isinstance(case.body, dict):
        return False
    place, text = (str(getattr(case.meta.phase.data, name, "")) for name in ("location", "description"))
    named = re.match(r"(?:/oneOf/\d+)+/properties/(\w+)", place) or re.match(r"Object with valid '(\w+)' value", text)
    if named is None:
        return False
    value = case.operation.label, named[1], repr(case.body.get(named[1]))
    repeated = value in _sent
    _sent.add(value)
    return repeated
