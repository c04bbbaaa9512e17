"""Weighted prompts such as `a man with a (red)1.4 hat`, parsed by compel; for models whose text encoders are CLIP."""

import re
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from compel import Compel, ReturnedEmbeddingsType
from compel.prompt_parser import FlattenedPrompt, Fragment
from pyparsing import ParseException, ParserElement
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from models.diffusion.prompt_syntax import MAX_WEIGHT, is_weighted, parts_of, translated

ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
NAMES = ("prompt_embeds", "pooled_prompt_embeds")
ParserElement.enable_packrat(None)  # as matplotlib does: without, compel takes minutes for a few nested parentheses
MAX_DEPTH = 4  # of nested parentheses
Fragments = list[tuple[str, float]]  # texts and their weights


def reads_weights(pipeline: Any) -> bool:
    """Returns whether all text encoders of a pipeline are CLIP, whose embeddings can be weighted."""
    encoders = [getattr(pipeline, name, None) for name in ENCODERS]
    return all(isinstance(each, CLIPTextModel | CLIPTextModelWithProjection) for each in encoders if each is not None)


def max_clip_skip(pipeline: Any) -> int:
    """Number of layers of the text encoders that can be left out; 0 unless all are CLIP."""
    encoders = [getattr(pipeline, name, None) for name in ENCODERS] if reads_weights(pipeline) else []
    layers = [encoder.config.num_hidden_layers for encoder in encoders if encoder is not None]
    return max(0, min(layers, default=0) - len(layers))  # two encoders are read one layer before their last


def unweighted(prompt: str) -> str:
    """Returns a weighted prompt without its weights; raises ValueError if it cannot be parsed."""
    return " ".join(text for part in parts_of(prompt) for text, _ in fragments(part))


def fragments(prompt: str) -> Fragments:
    """Divides a prompt into texts of one weight each; raises ValueError if it cannot be parsed."""
    if not is_weighted(prompt):
        return [(prompt, 1.0)]
    prompt = translated(prompt)
    depths = list(accumulate({"(": 1, ")": -1}[mark] for mark in re.findall(r"(?<!\\)[()]", prompt)))
    if min(depths, default=0) < 0 or depths[-1:] != [0]:
        raise ValueError("its parentheses do not match")
    if max(depths) > MAX_DEPTH:
        raise ValueError(f"its parentheses are nested more than {MAX_DEPTH} deep")
    try:
        parsed = Compel.parse_prompt_string(prompt)
    except (ParseException, ValueError, RecursionError) as error:
        raise ValueError("its weights cannot be separated from its words") from error
    [first, *more] = parsed.prompts
    parts = first.children if isinstance(first, FlattenedPrompt) else []
    if more or not parts or not all(type(part) is Fragment for part in parts) or getattr(parsed, "lora_weights", None):
        raise ValueError("it holds more than weights of words, as in (red)1.4")
    if any(not 0 <= part.weight <= MAX_WEIGHT for part in parts):
        raise ValueError(f"weights must be 0 to {MAX_WEIGHT:g}")
    return [(part.text, part.weight) for part in parts]


def is_plain(pipeline: Any, prompt: str) -> bool:
    """Returns whether the pipeline itself encodes a prompt: no weights, no BREAK, and not too long."""
    return not is_weighted(prompt) and len(parts_of(prompt)) == 1 and n_chunks(pipeline, prompt) == 1


def n_chunks(pipeline: Any, prompt: str) -> int:
    """Number of chunks of the encoder's length that a prompt takes; raises ValueError if it cannot be parsed."""
    parts = [_texts_and_weights(part) for part in parts_of(prompt)]
    counts: list[int] = []
    for compel in _compels(pipeline):
        provider = compel.conditioning_provider
        tokens = [provider.get_token_ids_and_expand_weights(*part, device="cpu")[0] for part in parts]
        counts.append(sum(len(each) for each in tokens) // provider.max_token_count)
    return max(counts)


def embeddings(
    pipeline: Any, prompts: Sequence[str], negative_prompts: Sequence[str], clip_skip: int = 0
) -> dict[str, Tensor]:
    """Returns prompt embeddings for a pipeline, by argument name; those of plain prompts are unchanged.

    All have as many chunks as the longest, filled with empty ones. clip_skip: last layers that are not used.
    """
    asked = {"": prompts, "negative_": negative_prompts}
    rows = {prompt: _row(pipeline, prompt, clip_skip) for prompt in dict.fromkeys([*prompts, *negative_prompts, ""])}
    [empty, *_] = rows[""]
    tokens = max(row[0].shape[1] for row in rows.values())
    for row in rows.values():
        row[0] = torch.cat([row[0], *[empty] * ((tokens - row[0].shape[1]) // empty.shape[1])], dim=1)
    return {
        f"{prefix}{name}": torch.cat(parts)
        for prefix, texts in asked.items()
        for name, parts in zip(NAMES, zip(*[rows[text] for text in texts], strict=True), strict=False)
    }


def _row(pipeline: Any, prompt: str, clip_skip: int) -> list[Tensor]:
    """Embeddings of the tokens of a prompt (1, tokens, width), and with two encoders the second's pooled embedding."""
    device, compels = pipeline._execution_device, _compels(pipeline, clip_skip)
    # With `clip_skip`, the pipelines ask CLIP for a part that recent releases of transformers name otherwise.
    plain = not clip_skip and is_plain(pipeline, prompt)
    pooled: list[Tensor] = []
    if plain or len(compels) > 1:  # the pooled embedding is that of the first chunk
        embeds, _, *pooled = pipeline.encode_prompt(
            prompt=prompt if plain else unweighted(prompt),
            device=device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        if plain:
            return [embeds, *pooled[:1]]
    texts, weights = zip(*[_texts_and_weights(part) for part in parts_of(prompt)], strict=True)
    found = [
        compel.conditioning_provider.get_embeddings_for_weighted_prompt_fragments([*texts], [*weights], device=device)
        for compel in compels
    ]
    return [torch.cat(found, dim=2), *pooled[:1]]


def _texts_and_weights(part: str) -> tuple[list[str], list[float]]:
    texts, weights = zip(*fragments(part), strict=True)
    return [*texts], [*weights]


def _compels(pipeline: Any, clip_skip: int = 0) -> list[Any]:
    """Returns a compel for each text encoder, which divides long prompts at sentences, commas or words."""
    kind, names = ReturnedEmbeddingsType, [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")]
    pairs = [(getattr(pipeline, tokenizer, None), getattr(pipeline, encoder, None)) for tokenizer, encoder in names]
    pairs = [pair for pair in pairs if pair[1] is not None]
    several = len(pairs) > 1
    returned = kind.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED if several else kind.LAST_HIDDEN_STATES_NORMALIZED
    compels = [
        Compel(*pair, returned_embeddings_type=returned, truncate_long_prompts=False, device=pipeline._execution_device)
        for pair in pairs
    ]
    for compel, (_, encoder) in zip(compels if clip_skip else [], pairs, strict=False):
        # compel leaves out one layer at most
        compel.conditioning_provider._encode_token_ids_to_embeddings = partial(
            _hidden_state, encoder, clip_skip + several, normalized=not several
        )
    return compels


def final_layer_norm(encoder: Any) -> Any:
    """Returns the last normalization of a CLIP text encoder, which releases of transformers hold in other places."""
    return getattr(encoder, "text_model", encoder).final_layer_norm


def _hidden_state(
    encoder: Any, skip: int, token_ids: Tensor, mask: Tensor | None = None, *, normalized: bool
) -> Tensor:
    """Output of the layer that is `skip` before the last of a CLIP text encoder (n, tokens, width)."""
    state: Tensor = encoder(token_ids, mask, output_hidden_states=True).hidden_states[-1 - skip]
    return final_layer_norm(encoder)(state) if normalized else state
