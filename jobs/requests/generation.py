"""The union of all generations, distinguished by `mode`."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Tag

from jobs.requests.architectures import ALL_MODES
from jobs.requests.arithmetic import Arithmetic
from jobs.requests.base import chosen_by
from jobs.requests.image_to_image import ImageToImage
from jobs.requests.inpainting import Inpainting
from jobs.requests.latents import DenoisingSteps, Interpolation, Reconstruction, Sample, Translation, Traversal
from jobs.requests.text_to_image import TextToImage
from jobs.requests.upscale import Upscaling
from jobs.requests.variation import Variation


def _mode_of(body: Mapping[str, Any]) -> str:
    """The mode of a request that names none."""
    if "image" in body:
        return "image-to-image" if "prompt" in body else "vary"
    return "text-to-image" if "prompt" in body else "sample"


Generation = Annotated[
    Annotated[Sample, Tag("<sample>")]
    | Annotated[Reconstruction, Tag("<reconstruct>")]
    | Annotated[Interpolation, Tag("<interpolate>")]
    | Annotated[Traversal, Tag("<traverse>")]
    | Annotated[Arithmetic, Tag("<arithmetic>")]
    | Annotated[Translation, Tag("<translate>")]
    | Annotated[DenoisingSteps, Tag("<denoise-steps>")]
    | Annotated[TextToImage, Tag("<text-to-image>")]
    | Annotated[ImageToImage, Tag("<image-to-image>")]
    | Annotated[Inpainting, Tag("<inpaint>")]
    | Annotated[Variation, Tag("<vary>")]
    | Annotated[Upscaling, Tag("<upscale>")],
    chosen_by("mode", ALL_MODES, _mode_of),
]
Prompted = TextToImage | ImageToImage | Inpainting
