"""Generations that are refused, with a word on what is allowed."""

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from api.generations import SMILEY, WINK
from tests.api import cards
from tests.api.cards import HAT, HATTED, post
from tests.api.conftest import data_url, field_and_rule, image_file, stored
from tests.stack import Stack

stack, known = cards.stack, cards.known  # fixtures

USABLE = [
    *("cyclegan-hats", "dcgan-faces", "dcgan-mixed", "ddpm-small", "gan-8", "gan-mixed"),
    *("sd-faces", "turbo", "vae-2", "vae-faces"),
]


def drawing(*boxes: tuple[tuple[int, int, int, int], tuple[int, int, int, int]]) -> bytes:
    """64 x 64 pixels of black with boxes of other colors."""
    image = Image.new("RGBA", (64, 64), "black")
    for box, color in boxes:
        image.paste(color, box)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


BLACK, TOP = drawing(), drawing(((0, 0, 64, 16), (255, 255, 255, 255)))

UNCLEAR = drawing(((8, 8, 24, 24), (255, 255, 255, 255)), ((40, 40, 60, 60), (0, 0, 0, 0)))

SEEDS = {"model": "gan-8", "mode": "interpolate"}

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown model": (
        {"model": "vae-99"},
        "unknown_model",
        f"model: No model that generates is called 'vae-99'; there are {', '.join(USABLE)}.",
    ),
    "model that generates nothing": (
        {"model": "vgg16"},
        "unknown_model",
        f"model: No model that generates is called 'vgg16'; there are {', '.join(USABLE)}.",
    ),
    "mode of another architecture": (
        {"model": "vae-2", "mode": "translate", "images": [SMILEY]},
        "mode_not_supported",
        "mode: Model vae-2 cannot do 'translate'; cyclegan-hats can.",
    ),
    "mode a GAN of perceptrons lacks": (
        {"model": "gan-8", "mode": "reconstruct", "images": [SMILEY]},
        "mode_not_supported",
        "mode: Model gan-8 cannot do 'reconstruct'; dcgan-faces, dcgan-mixed, vae-2, vae-faces can.",
    ),
    "image without an encoder": (
        SEEDS | {"between": [1, SMILEY]},
        "model_mismatch",
        "between.1: Model gan-8 has no encoder: it takes seeds, not images.",
    ),
    "steps of no diffusion": (
        {"model": "vae-2", "num_inference_steps": 5},
        "model_mismatch",
        "num_inference_steps: Model vae-2 is not a diffusion model and does not use it.",
    ),
    "dimension past the last": (
        {"model": "vae-2", "mode": "traverse", "dimensions": [2]},
        "model_mismatch",
        "dimensions.0: Model vae-2 has 2 dimensions, 0 to 1.",
    ),
    "short z": (
        {"model": "gan-8", "mode": "arithmetic", "terms": [{"sign": "+", "z": [1]}]},
        "model_mismatch",
        "terms.0.z: Model gan-8 has a z of 8 values, not 1.",
    ),
    "unknown attribute": (
        {"model": "dcgan-faces", "mode": "arithmetic", "terms": [HAT, {"sign": "-", "without": ["cat"]}]},
        "unknown_attribute",
        "terms.1.without: There is no attribute 'cat'; there are hat, red.",
    ),
    "no classifier": (
        {"model": "gan-8", "mode": "arithmetic", "terms": [HAT]},
        "model_mismatch",
        "terms.0: Model gan-8 has no classifier of its images, so attributes cannot be recognized.",
    ),
    "classifier of other images": (
        {"model": "dcgan-faces", "mode": "arithmetic", "terms": [HAT], "classifier": "classifier-other"},
        "unknown_model",
        "classifier: For dcgan-faces there are classifier-faces.",
    ),
    "classifier of images of other channels": (
        {"model": "gan-mixed", "mode": "arithmetic", "terms": [HAT], "classifier": "classifier-mixed"},
        "model_mismatch",
        "classifier: classifier-mixed was trained on images of 3 channels, and gan-mixed makes 28 x 28 pixels, "
        "1 channels; they must agree.",
    ),
    "classifier of images of another size": (
        {"model": "dcgan-mixed", "mode": "arithmetic", "terms": [HAT], "classifier": "classifier-small-mixed"},
        "model_mismatch",
        "classifier: classifier-small-mixed was trained on images of 32 x 32 pixels, 3 channels, and dcgan-mixed makes "
        "64 x 64 pixels, 3 channels; they must agree.",
    ),
    "no classifier of such images": (
        {"model": "gan-mixed", "mode": "arithmetic", "terms": [HAT]},
        "model_mismatch",
        "terms.0: Model gan-mixed has no classifier of its images, so attributes cannot be recognized.",
    ),
    "terms that cancel": (
        {
            "model": "dcgan-faces",
            "mode": "arithmetic",
            "terms": [
                *(HAT, {"sign": "+", "seed": 1, "weight": 0.3}, {"sign": "-", "with": ["hat"]}),
                *({"sign": "-", "seed": 1, "weight": 0.1}, {"sign": "-", "seed": 1, "weight": 0.2}),
            ],
        },
        "terms_cancel",
        "terms: Each is subtracted again, so nothing is left.",
    ),
    "damaged image among good ones": (
        {"model": "vae-faces", "mode": "reconstruct", "images": [SMILEY, data_url(image_file()[:-1000])]},
        "image_truncated",
        "images.1: The PNG file's image data is damaged or cut off.",
    ),
    "unknown mode": (
        {"model": "vae-2", "mode": "dream"},
        "invalid_request",
        "`mode` must be 'sample', 'reconstruct', 'interpolate', 'traverse', 'arithmetic', 'translate', "
        "'denoise-steps', 'text-to-image', 'image-to-image', 'inpaint', 'vary' or 'upscale'.",
    ),
    "no prompt": (
        {"model": "sd-faces", "mode": "text-to-image"},
        "invalid_request",
        "`prompt` is required.",
    ),
    "width of no multiple of 8": (
        {"model": "sd-faces", **HATTED, "width": 60},
        "invalid_request",
        "`width` must be a multiple of 8.",
    ),
    "more pixels than the model makes": (
        {"model": "sd-faces", **HATTED, "height": 512},
        "model_mismatch",
        "height: Model sd-faces makes images of at most 256 pixels a side.",
    ),
    "guidance of a model without": (
        {"model": "turbo", **HATTED, "guidance_scale": 5},
        "model_mismatch",
        "guidance_scale: Model turbo works without guidance: 0 to 1 are allowed, and mean none.",
    ),
    "text for a model of none": (
        {"model": "vae-2", **HATTED},
        "mode_not_supported",
        "mode: Model vae-2 cannot do 'text-to-image'; sd-faces, turbo can.",
    ),
    "mask that marks nothing": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask": data_url(BLACK)},
        "empty_mask",
        "mask: No part of it is white: its luminance is at most 0 of 255, and 128 are needed. "
        "A mask is white on the part that counts.",
    ),
    "mask that marks what is cut off": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "width": 64, "height": 32}
        | {"image": SMILEY, "mask": data_url(TOP)},
        "empty_mask",
        "mask: Nothing is marked in its middle, which is cut out in the shape of 64 x 32.",
    ),
    "mask of transparent and white parts": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask": data_url(UNCLEAR)},
        "ambiguous_mask",
        "mask: It has transparent parts beside parts in black and white, or a border that is half transparent: "
        "which part changes is ambiguous. Send it without transparency.",
    ),
    "feather too wide": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask": WINK, "mask_feather": 65},
        "invalid_request",
        "`mask_feather` must be at most 64.",
    ),
    "neither mask nor expand": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY},
        "invalid_request",
        "mask: Give `mask` or `expand`, one of the two.",
    ),
    "expand by nothing": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "expand": {"left": 0}},
        "invalid_request",
        "expand: One of `left`, `right`, `top` and `bottom` must be above 0.",
    ),
    "expand beyond what the model makes": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY}
        | {"expand": {"left": 100, "right": 100}},
        "too_many_pixels",
        "expand: The new area and what surrounds it have 264 x 264 pixels; by `width` and `height`, 64 x 64, at most "
        "256 x 256 can be generated. Expand less at a time, or raise both.",
    ),
    "a seam that leaves nothing": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask_feather": 32}
        | {"expand": {"left": 8, "right": 8}},
        "size_mismatch",
        "mask_feather: 32 pixels on each side that grows leave nothing of an image of 64 x 64 as it is.",
    ),
    "mask of another size": (
        {"model": "sd-faces", "mode": "inpaint", "prompt": "a hat", "image": SMILEY, "mask": data_url(image_file())},
        "size_mismatch",
        "mask: The mask is 48 x 32; it must have its image's size, 64 x 64.",
    ),
    "no step left": (
        {"model": "sd-faces", "mode": "image-to-image", "prompt": "a hat", "image": SMILEY}
        | {"strength": 0.1, "num_inference_steps": 5},
        "too_few_steps",
        "strength: 0.1 leaves none of 5 steps; use more steps or a larger strength.",
    ),
    "no model": ({}, "invalid_request", "`model` is required."),
    "model like a path": (
        {"model": "../vae"},
        "invalid_request",
        "`model` must be the id of a model: 2 to 80 of the characters a-z, 0-9, . and -.",
    ),
    "field of another mode": (
        {"model": "vae-2", "images": [SMILEY]},
        "invalid_request",
        "`images` is not a field of this request, or the method or mode does not use it.",
    ),
    "n and seeds": (
        {"model": "vae-2", "n": 2, "seeds": [1, 2]},
        "invalid_request",
        "seeds: Give `n` or `seeds`, not both.",
    ),
    "65 images": ({"model": "vae-2", "n": 65}, "invalid_request", "`n` must be at most 64."),
    "stochastic interpolation": (
        {"model": "ddpm-small", "mode": "interpolate", "between": [1, 2], "scheduler": "ddpm"},
        "invalid_request",
        "`scheduler` must be 'ddim' or 'dpm-solver++'.",
    ),
    "end of no sort": (
        SEEDS | {"between": [1, {"seed": 2}]},
        "invalid_request",
        "`between.1` must be an image or an integer seed.",
    ),
    "start of no sort": (
        {"model": "vae-2", "mode": "traverse", "start": "middle"},
        "invalid_request",
        "`start` must be 'mean', an image or an integer seed.",
    ),
    "empty term": (
        {"model": "vae-2", "mode": "arithmetic", "terms": [{"sign": "+"}]},
        "invalid_request",
        "`terms.0` must be an object with a `sign` and one of `image`, `seed`, `z`, `attribute`, "
        "or `with` and `without`.",
    ),
    "term of two sorts": (
        {"model": "vae-2", "mode": "arithmetic", "terms": [{"sign": "+", "seed": 1, "with": ["hat"]}]},
        "invalid_request",
        "`terms.0.with` is not a field of this request, or the method or mode does not use it.",
    ),
    "a lora that nobody knows": (
        {"model": "sd-faces", **HATTED, "loras": [{"model": "ink"}, {"model": "inc"}]},
        "unknown_model",
        "loras.1.model: No LoRA is called 'inc'; sd-faces takes those of sd-faces: chalk, ink.",
    ),
    "a lora in a prompt that nobody knows": (
        {"model": "sd-faces", **HATTED, "prompt": "a hat <lora:ink:0.8> <lora:inc:1>"},
        "unknown_model",
        "prompt: No LoRA is called 'inc'; sd-faces takes those of sd-faces: chalk, ink.",
    ),
    "a controlnet of another base": (
        {"model": "sd-faces", **HATTED, "control": {"model": "edges-xl", "image": SMILEY}},
        "model_mismatch",
        "control.model: 'edges-xl' is a ControlNet of sdxl; sd-faces takes those of sd-faces: edges.",
    ),
    "no ip-adapter": (
        {"model": "sd-faces", **HATTED, "image_prompt": {"model": "edges", "image": SMILEY}},
        "unknown_model",
        "image_prompt.model: No IP-Adapter is called 'edges'; sd-faces takes those of sd-faces: adapter.",
    ),
    "unknown textual inversion": (
        {"model": "sd-faces", **HATTED, "textual_inversions": ["ink"]},
        "unknown_model",
        "textual_inversions.0: No textual inversion is called 'ink'; sd-faces takes those of sd-faces: cat.",
    ),
    "a textual inversion that no prompt names": (
        {"model": "sd-faces", **HATTED, "negative_prompt": "a cat, <cats>", "textual_inversions": ["cat"]},
        "invalid_request",
        "textual_inversions.0: Neither prompt nor negative_prompt has the token of cat, which is <cat>.",
    ),
    "a lora in a prompt and in loras": (
        {"model": "sd-faces", **HATTED, "prompt": "a hat <lora:ink>", "loras": [{"model": "ink"}]},
        "invalid_request",
        "prompt: With its <lora:…> as entries of loras, loras: Value error, Each may be named once; up to four LoRAs, "
        "each once, of scale -2 to 2 may be named.",
    ),
    "a model that is no lora": (
        {"model": "sd-faces", **HATTED, "loras": [{"model": "turbo"}]},
        "unknown_model",
        "loras.0.model: No LoRA is called 'turbo'; sd-faces takes those of sd-faces: chalk, ink.",
    ),
    "a lora of another base": (
        {"model": "turbo", **HATTED, "loras": [{"model": "sketch"}]},
        "model_mismatch",
        "loras.0.model: 'sketch' is a LoRA of sdxl; turbo takes those of turbo: there are none.",
    ),
    "a lora as a model": (
        {"model": "ink", **HATTED},
        "unknown_model",
        f"model: No model that generates is called 'ink'; there are {', '.join(USABLE)}.",
    ),
    "draws that would be alike": (
        {"model": "vae-2", "mode": "arithmetic", "terms": [{"sign": "+", "seed": 1}], "n": 4},
        "invalid_request",
        "n: Draws differ by the samples of attribute terms, and there is no such term.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_word_on_what_is_allowed(known: Stack, name: str) -> None:
    body, code, message = REFUSED[name]
    before = stored(known)
    answer = post(known, **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"]) == (422, code, message)
    assert error["details"]["field"] == field_and_rule(message)[0]
    assert stored(known) == before
