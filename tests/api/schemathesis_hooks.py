"""What Schemathesis cannot know from the schema: pictures, ids of things that are really there, what is installed.

`ATELIER_TEST_IDS` is a JSON file with the ids of uploaded `images` and finished `jobs`, `ATELIER_TEST_PICTURES` a
folder of image files.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st

from api.style_transfers import CAT, COFFEE
from jobs.style_transfer import LAYERS

known = json.loads(Path(os.environ["ATELIER_TEST_IDS"]).read_text())
pictures = [path.read_bytes() for path in sorted(Path(os.environ["ATELIER_TEST_PICTURES"]).iterdir())]

# No https: URL among them, which would go out to a stranger's host (and the tests' machine may have no network).
schemathesis.openapi.format("image-ref", st.sampled_from([*known["images"], CAT, COFFEE]))
schemathesis.openapi.format("webhook-url", st.just("https://hooks.invalid/done"))
schemathesis.openapi.format("image-id", st.sampled_from(known["images"]))
schemathesis.openapi.format("job-id", st.sampled_from(known["jobs"]))
schemathesis.openapi.format(
    "event-id", st.from_regex(r"[0-9]{1,15}-[0-9]{1,15}", fullmatch=True, alphabet="0123456789-")
)
for kind in ("png", "jpeg", "webp", "gif", "bmp", "tiff"):
    schemathesis.openapi.media_type(f"image/{kind}", st.sampled_from(pictures))


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Without what needs VGG-19: the schema allows it, and the answer is 422 where it is not installed."""
    body = case.body if isinstance(case.body, dict) else {}
    layers = [body.get(name) for name in ("content_layers", "style_layers")]
    named = [layer for names in layers if isinstance(names, list) for layer in names]
    only_vgg19 = set(LAYERS["vgg19"]) - set(LAYERS["vgg16"])
    return body.get("model") != "vgg19" and not any(layer == name for layer in named for name in only_vgg19)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """A valid key is made one of this request alone: the schema cannot say that two requests may not share a key."""
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch(r"[\x21-\x7e]{1,200}", key):
        request = f"{case.formatted_path} {case.body!r}".encode()
        case.headers["Idempotency-Key"] = hashlib.sha256(request).hexdigest()
