"""Adds textual inversions to the text encoders of a model for one run and removes them again.

Gal et al. 2023, "An image is worth one word: personalizing text-to-image generation using textual inversion".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import AddedToken
from torch import Tensor, nn

from cards.tokens import word
from models.diffusion.prompts import reads_weights
from models.diffusion.text_to_image import TextToImageModel
from models.errors import AdditionError, NotFiniteError
from models.tensors import check_finite

PARTS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
OF_TWO = ("clip_l", "clip_g")  # keys of a file for the two encoders of SDXL
Write = Callable[[str], str]


def read_vectors(path: Path) -> list[Tensor]:
    """Reads the vectors (n, width) of a safetensors file: one array for each text encoder of its model.

    A file has one key, `emb_params` (AUTOMATIC1111's web UI) or its token (diffusers), or `clip_l` and `clip_g` (SDXL).
    Raises ValueError for another file.
    """
    try:
        state = load_file(path)
        check_finite(state)
    except (OSError, SafetensorError, NotFiniteError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    keys = OF_TWO if {*state} == {*OF_TWO} else [*state]
    vectors = [torch.atleast_2d(state[key]).float() for key in keys]
    are_two = keys == OF_TWO and len(vectors[0]) == len(vectors[1])
    if not (len(keys) == 1 or are_two) or any(each.ndim > 2 or not each.numel() for each in vectors):
        raise ValueError(f"{path.name} holds no textual inversion: it has {', '.join(state) or 'no'} tensors")
    return vectors


@contextmanager
def with_textual_inversions(model: TextToImageModel, inversions: Mapping[str, Path]) -> Iterator[Write]:
    """Adds textual inversions, safetensors files by their tokens, inside the context; then all is as it was.

    Yields a function that writes a prompt with a word for each vector instead of each token. Raises AdditionError
    for a file that cannot be used with the model.
    """
    pipeline = model.pipeline
    names = [pair for pair in PARTS if getattr(pipeline, pair[1], None) is not None]
    found = [_fitting(pipeline, names, place, path) for place, path in enumerate(inversions.values())]
    words = [[f"inversion{place}vector{k}" for k in range(len(vectors[0]))] for place, vectors in enumerate(found)]

    def write(prompt: str) -> str:
        for token, own in zip(inversions, words, strict=True):
            prompt = word(token).sub(" ".join(own), prompt)
        return prompt

    with ExitStack() as stack:
        for i, (tokenizer, encoder) in enumerate(names if inversions else ()):
            added = [name for own in words for name in own]
            rows = torch.cat([vectors[i] for vectors in found])
            stack.enter_context(_extended(pipeline, tokenizer, getattr(pipeline, encoder), added, rows))
        yield write


def _fitting(pipeline: Any, names: Sequence[tuple[str, str]], place: int, path: Path) -> list[Tensor]:
    try:
        vectors = read_vectors(path)
    except ValueError as error:
        raise AdditionError(place, str(error)) from error
    if not reads_weights(pipeline):
        raise AdditionError(place, "the text encoder of the model is not CLIP")
    widths = [getattr(pipeline, encoder).get_input_embeddings().embedding_dim for _, encoder in names]
    own = [each.shape[1] for each in vectors]
    if own != widths:
        found, expected = (" and ".join(map(str, each)) for each in (own, widths))
        raise AdditionError(place, f"{path.name} has vectors of {found} values, and the text encoder of {expected}")
    return vectors


@contextmanager
def _extended(pipeline: Any, name: str, encoder: Any, words: Sequence[str], rows: Tensor) -> Iterator[None]:
    """Gives a tokenizer these words, and an encoder their embeddings (n, width); both are replaced, not changed."""
    tokenizer, table = getattr(pipeline, name), encoder.get_input_embeddings()
    ends = [module for module in encoder.modules() if hasattr(module, "eos_token_id")]
    before = [module.eos_token_id for module in ends]
    larger = deepcopy(tokenizer)
    larger.add_tokens([AddedToken(each, single_word=True) for each in words])
    ids = larger.convert_tokens_to_ids([*words])
    weight = table.weight.new_zeros(max(table.num_embeddings, *[k + 1 for k in ids]), table.embedding_dim)
    weight[: table.num_embeddings] = table.weight.detach()
    weight[ids] = rows.to(weight)
    try:
        setattr(pipeline, name, larger)
        encoder.set_input_embeddings(nn.Embedding.from_pretrained(weight))
        for module in ends:  # where it is 2, as in early configurations, the largest id would mark the end of a text
            module.eos_token_id = tokenizer.eos_token_id
        yield
    finally:
        setattr(pipeline, name, tokenizer)
        encoder.set_input_embeddings(table)
        for module, value in zip(ends, before, strict=True):
            module.eos_token_id = value
