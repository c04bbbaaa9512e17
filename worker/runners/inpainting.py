"""Masks of inpainting, and parts of images that are generated at the model's size and pasted back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from images.mask import Marked, coverage, cut_out, read_mask
from images.regions import Box, Size, bounding_box, clipped, scaled_part
from jobs.images import as_answers
from jobs.requests.base import filled
from jobs.requests.inpainting import Expand, Inpainting
from models.diffusion.masks import feather_mask
from worker.run import Pixels, Task
from worker.runners.images import resized


@dataclass(frozen=True)
class Part:
    """A part of an image, cut out at the size that it is generated at."""

    image: Pixels  # (h, w, 3) of that size; beyond the edges of the canvas they are repeated
    mask: NDArray[np.float32]  # (h, w), 1 where it is generated and 0 where it is kept
    canvas: Pixels  # the whole image
    box: Box  # the part of the canvas
    inner: Box  # that part in `image`
    shares: NDArray[np.uint8]  # (height, width) of `box`, 255 where the generated image replaces the canvas

    def pasted(self, generated: Pixels) -> Pixels:
        """The canvas with a generated image (h, w, 3) in its part; pixels with the share 0 are those of the canvas."""
        width, height = self.box.size
        whole = Image.fromarray(self.canvas)
        part = Image.fromarray(resized(generated[self.inner.slices], height, width))
        whole.paste(part, self.box[:2], Image.fromarray(self.shares))
        return np.asarray(whole)


def mask_of(task: Task, params: Inpainting) -> NDArray[np.float32]:
    """The mask at the size of the result; raises AtelierError if it marks nothing there."""
    with as_answers():
        return feather_mask(cut_out(_marked(task, params), *params.size), params.mask_feather)


def cut_part(task: Task, params: Inpainting) -> Part:
    """Cuts out what is masked, or what `expand` adds, with what surrounds it; warns where it is enlarged afterwards."""
    canvas = task.read_image(params.image)
    if params.expand:
        canvas, marked = _grown(canvas, params.expand, params.mask_feather)
    else:
        marked = _marked(task, params)
    size: Size = (canvas.shape[1], canvas.shape[0])
    region = params.region(bounding_box(marked), size)
    if region.size[0] > params.size[0]:
        found, made = ("{} x {}".format(*each) for each in (region.size, params.size))
        message = f"A part of {found} pixels is generated at {made} and enlarged, so it is less sharp than the rest"
        task.warn("part_enlarged", f"{message}; a larger width and height make it sharper.")
    box = clipped(region, size)
    inner = scaled_part(box, region, params.size)
    marked = marked[box.slices]
    margins = [(inner.top, params.size[1] - inner.bottom), (inner.left, params.size[0] - inner.right)]
    changed = coverage(marked, *inner.size) > 0
    return Part(
        np.pad(resized(canvas[box.slices], *inner.size[::-1]), [*margins, (0, 0)], mode="edge"),
        np.pad(changed, margins, constant_values=True).astype(np.float32),
        canvas,
        box,
        inner,
        np.rint(255 * feather_mask(marked, params.mask_feather)).astype(np.uint8),
    )


def _marked(task: Task, params: Inpainting) -> Marked:
    """Reads the mask of a request without `expand`; raises AtelierError if it marks nothing."""
    with as_answers():
        return read_mask(Image.fromarray(task.read_image(filled(params.mask))))


def _grown(image: Pixels, expand: Expand, seam: int) -> tuple[Pixels, Marked]:
    """The image with its edges repeated outwards, and True there and over `seam` pixels of the image beside it."""
    size: Size = (image.shape[1], image.shape[0])
    margins = [(expand.top, expand.bottom), (expand.left, expand.right)]
    marked = np.ones(expand.canvas(size)[::-1], np.bool_)
    marked[expand.kept(size, seam).slices] = False
    return np.pad(image, [*margins, (0, 0)], mode="edge"), marked
