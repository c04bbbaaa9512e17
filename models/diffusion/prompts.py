"""Weighted prompts such as `a man with a (red)1.4 hat`, parsed by compel; for models whose text encoders are CLIP."""

import re
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Any

import torch
from compel import Compel, ReturnedEmbeddingsType
from compel.prompt_parser import FlattenedPrompt, Fragment
from pyparsing import ParseException, ParserElement
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

ParserElement.enable_packrat(None)  # as matplotlib does: without, compel takes minutes for a few nested parentheses
MAX_WEIGHT = 5.0
MAX_DEPTH = 4  # of nested parentheses
# Syntax of other programs that is plain text here.
_SYNTAX = [
    re.compile(pattern)
    for pattern in (
        r"<[\w-]+:[^<>]*>",  # <lora:name:0.8>
        r"\([^()]*:\s*\d*\.?\d+\s*\)",  # (word:1.5)
        r"\(\([^()]*\)\)",  # ((word))
        r"\[[^\[\]]*\]",  # [word], [from:to:0.5]
        r"\{[^{}]*\|[^{}]*\}",  # {red|green}
        r"\b__[\w/-]+__\b",  # __colors__
        r"\)\.(?:and|blend|swap)\(",  # ("a", "b").blend(1, 1)
        r"(?<!\w)\w+(?:\++|--+)(?!\S)",  # word++
        r"\b(?:BREAK|AND)\b",
    )
]
_WEIGHTED_WORDS = re.compile(r"\([^()]*\)(?:\d*\.?\d+|[+-]+)")
# A closing parenthesis with its weight; all other prompts, including those with plain parentheses, are not parsed.
_WEIGHTED = re.compile(r"(?<!\\)\)(?:\.?\d|[+-])")


def reads_weights(pipeline: Any) -> bool:
    """Returns whether all text encoders of a pipeline are CLIP, whose embeddings can be weighted."""
    encoders = [getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2", "text_encoder_3")]
    return all(isinstance(each, CLIPTextModel | CLIPTextModelWithProjection) for each in encoders if each is not None)


def is_weighted(prompt: str) -> bool:
    """Returns whether a prompt has weights."""
    return bool(_WEIGHTED.search(prompt))


def plain_syntax(prompt: str, *, weights: bool = False) -> list[str]:
    """Returns the parts of a prompt, in order, that are syntax in other programs and plain text here.

    weights: whether weights such as (red)1.4 are plain text too, for models that do not support them.
    """
    patterns = [*_SYNTAX, _WEIGHTED_WORDS] if weights else _SYNTAX
    matches = [match for pattern in patterns for match in pattern.finditer(prompt)]
    return [match[0] for match in sorted(matches, key=lambda match: match.start())]


def unknown_words(prompt: str, known: Collection[str]) -> list[str]:
    """Returns the words of a prompt that are not `known`, in lower case and in order, each once."""
    for pattern in (_SYNTAX[0], _SYNTAX[-1]):
        prompt = pattern.sub(" ", prompt)
    return [word for word in dict.fromkeys(words_of(prompt)) if word not in known]


def words_of(text: str) -> list[str]:
    """Returns the words of a text in lower case: letters, and apostrophes between them."""
    return re.findall(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", text.lower())


def unweighted(prompt: str) -> str:
    """Returns a weighted prompt without its weights; raises ValueError if it cannot be parsed."""
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
    return " ".join(part.text for part in parts)


def embeddings(pipeline: Any, prompts: Sequence[str], prefix: str = "") -> dict[str, Tensor]:
    """Returns prompt embeddings for a pipeline, by argument name; those of prompts without weights are unchanged."""
    by_prompt = {prompt: _row(pipeline, prompt) for prompt in dict.fromkeys(prompts)}
    rows = [by_prompt[prompt] for prompt in prompts]
    names = [f"{prefix}prompt_embeds", f"{prefix}pooled_prompt_embeds"]
    return {name: torch.cat(parts) for name, parts in zip(names, zip(*rows, strict=True), strict=False)}


def _row(pipeline: Any, prompt: str) -> list[Tensor]:
    """Embeddings of the tokens of a prompt (1, tokens, width), and with two encoders the second's pooled embedding."""
    weighted = is_weighted(prompt)
    words, device = unweighted(prompt) if weighted else prompt, pipeline._execution_device
    plain = pipeline.encode_prompt(
        prompt=words, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    embeds, pooled = plain[0], list(plain[2:3])
    if not weighted:
        return [embeds, *pooled]
    kind = ReturnedEmbeddingsType
    returned = kind.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED if pooled else kind.LAST_HIDDEN_STATES_NORMALIZED
    parts = [
        Compel(tokenizer, encoder, returned_embeddings_type=returned, device=device)(prompt)
        for tokenizer, encoder in _encoders(pipeline)
    ]
    return [torch.cat(parts, dim=2).to(embeds), *pooled]


def _encoders(pipeline: Any) -> list[tuple[Any, Any]]:
    names = [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")]
    pairs = [(getattr(pipeline, tokenizer, None), getattr(pipeline, encoder, None)) for tokenizer, encoder in names]
    return [pair for pair in pairs if pair[1] is not None]
