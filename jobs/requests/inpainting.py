"""Generations of a part of an image: inpainting, at the image's own resolution too, and outpainting."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from images.regions import Box, region_around
from jobs.errors import BadInput
from jobs.requests.base import MAX_PIXELS, STRICT, ImageRef, ImageSize, filled, invalid, whole
from jobs.requests.image_to_image import FromImage, Strength, check_mask
from jobs.requests.upscale import check_pixels

PADDING = 32  # pixels of the image around a new area that the model sees
MAX_ENLARGED = 4  # times as large as it is generated, a side of what `expand` adds: beyond, it is a blur
MAX_SIDE = 16_383  # of a WebP file

Added = Annotated[int, Field(ge=0, le=2048)]


class Expand(BaseModel):
    """Pixels that an image grows by on each side."""

    model_config = STRICT
    left: Added = 0
    right: Added = 0
    top: Added = 0
    bottom: Added = 0

    _whole = field_validator("*", mode="before")(whole)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any((self.left, self.right, self.top, self.bottom)):
            raise ValueError("One of `left`, `right`, `top` and `bottom` must be above 0")
        return self

    def canvas(self, image: ImageSize) -> ImageSize:
        """The size of the image once it has grown."""
        return image[0] + self.left + self.right, image[1] + self.top + self.bottom

    def kept(self, image: ImageSize, seam: int) -> Box:
        """The box in the canvas that stays: the image without `seam` pixels along each side that grows."""
        return Box(
            self.left + seam * bool(self.left),
            self.top + seam * bool(self.top),
            self.left + image[0] - seam * bool(self.right),
            self.top + image[1] - seam * bool(self.bottom),
        )

    def changed(self, image: ImageSize, seam: int) -> Box:
        """The bounding box, in the canvas, of what does not stay."""
        (width, height), kept = self.canvas(image), self.kept(image, seam)
        return Box(
            0 if self.left or self.top or self.bottom else kept.right,
            0 if self.top or self.left or self.right else kept.bottom,
            width if self.right or self.top or self.bottom else kept.left,
            height if self.bottom or self.left or self.right else kept.top,
        )


class Inpainting(FromImage):
    """A masked part of an image, or an area around it, generated anew; the rest stays as it is."""

    mode: Literal["inpaint"]
    image: Annotated[
        ImageRef,
        Field(
            description="Its center is cut out in the shape of the result; with `padding_mask_crop` or `expand` all of "
            "it stays, in its own size."
        ),
    ]
    mask: Annotated[
        ImageRef | None,
        Field(
            description="As large as the image: white where it is generated anew, black where it stays; or an image "
            "with a transparent hole there; or a brush on a transparent layer. Required without `expand`."
        ),
    ] = None
    mask_feather: Annotated[
        int,
        Field(
            ge=0,
            le=64,
            description="Pixels of the result over which the mask fades inside its edge; with `expand`, over which the "
            "image fades into the new area; 0: none.",
        ),
    ] = 4
    padding_mask_crop: Annotated[
        int | None,
        Field(
            ge=1,
            le=1024,
            description="Only masked: the mask and this many pixels of the image around it are cut out in the shape of "
            "`width` x `height`, generated at that size and pasted back into the image. When absent, the whole image "
            f"is generated; with `expand`, {PADDING}.",
        ),
    ] = None
    expand: Annotated[
        Expand | None,
        Field(
            description="Outpainting, instead of a mask: pixels that the image grows by on each side. The new area is "
            f"generated with what surrounds it; together at most {MAX_ENLARGED} times `width` x `height`."
        ),
    ] = None
    strength: Strength = 1.0

    @model_validator(mode="after")
    def _mask_or_expand(self) -> Self:
        if (self.mask is None) == (self.expand is None):
            raise invalid("mask", "Give `mask` or `expand`, one of the two")
        return self

    @property
    def is_pasted(self) -> bool:
        """Whether a part is generated and pasted into the image, instead of the whole."""
        return self.padding_mask_crop is not None or self.expand is not None

    def fitted(self, architecture: Mapping[str, Any]) -> Self:
        """As other generations from an image, of the image's own size; fills in the padding of `expand`."""
        fitted = super().fitted(architecture).with_defaults(upscale=1)
        return fitted.with_defaults(padding_mask_crop=PADDING) if fitted.expand else fitted

    def compatibility(self) -> str:
        """As other generations from a prompt; a large image runs alone, because a batch has no bound in bytes."""
        return "" if self.is_pasted else super().compatibility()

    def masks(self) -> dict[str, ImageSize | None]:
        """The mask; cut out in the shape of the result unless it is pasted."""
        return {"mask": None if self.is_pasted else self.size} if self.mask else {}

    def region(self, changed: Box, canvas: ImageSize) -> Box:
        """The box that is generated for a part of the canvas."""
        return region_around(changed, filled(self.padding_mask_crop), canvas, self.size)

    def canvas(self, image: ImageSize) -> ImageSize:
        """The size of the results of an image."""
        if not self.is_pasted:
            return self.size
        return self.expand.canvas(image) if self.expand else image

    def made_pixels(self, sizes: Mapping[str, ImageSize]) -> int:
        """Pixels of all images that it makes of images of these sizes."""
        width, height = self.canvas(sizes["image"])
        return self.scale_of_images**2 * width * height * self.num_images_per_prompt

    def check_sizes(self, sizes: Mapping[str, ImageSize]) -> None:
        """Raises BadInput for a mask of another size than the image, and for results that are too large."""
        if self.mask:
            check_mask("mask", sizes["mask"], sizes["image"])
        if self.is_pasted:
            self._check_canvas(self.canvas(sizes["image"]))
        if self.expand:
            self._check_expand(self.expand, sizes["image"])

    def _check_canvas(self, canvas: ImageSize) -> None:
        field = "expand" if self.expand else "image"
        if max(canvas) > MAX_SIDE:
            message = f"{field}: The result has {canvas[0]} x {canvas[1]} pixels; a side may have {MAX_SIDE}."
            raise BadInput("too_many_pixels", message, field=field, allowed=MAX_SIDE)
        area = canvas[0] * canvas[1]
        if area * self.num_images_per_prompt > MAX_PIXELS:
            field = "num_images_per_prompt" if area <= MAX_PIXELS else field
            found = f"{canvas[0]} x {canvas[1]} x {self.num_images_per_prompt} pixels are too many"
            message = f"{field}: {found}; all images of a job may have {MAX_PIXELS:,}."
            raise BadInput("too_many_pixels", message, field=field, allowed=MAX_PIXELS)
        if self.scale_of_images > 1:
            check_pixels("upscale", area * self.num_images_per_prompt)

    def _check_expand(self, expand: Expand, image: ImageSize) -> None:
        """Raises BadInput where nothing of the image stays, or the new area is too large for the model."""
        if min(expand.kept(image, self.mask_feather).size) < 1:
            message = f"mask_feather: {self.mask_feather} pixels on each side that grows leave nothing of an image of "
            message = f"{message}{image[0]} x {image[1]} as it is."
            raise BadInput("size_mismatch", message, field="mask_feather", allowed=(min(image) - 1) // 2)
        region = self.region(expand.changed(image, self.mask_feather), expand.canvas(image))
        most = tuple(MAX_ENLARGED * side for side in self.size)
        if region.size[0] > most[0] or region.size[1] > most[1]:
            found, limit, own = ("{} x {}".format(*size) for size in (region.size, most, self.size))
            message = f"expand: The new area and what surrounds it have {found} pixels; by `width` and `height`, {own},"
            message = f"{message} at most {limit} can be generated. Expand less at a time, or raise both."
            raise BadInput("too_many_pixels", message, field="expand", allowed=limit)
