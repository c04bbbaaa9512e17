"""Pictures and texts as vectors of one space, with the networks and the tokenizer of transformers.

Radford et al. 2021, "Learning transferable visual models from natural language supervision".
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

HEAD_DIM, START, END = 32, "<|startoftext|>", "<|endoftext|>"
# Any text is bytes: with these no word is unknown. A word's last one is a token of its own, as in CLIP's vocabulary.
BYTES = sorted(ByteLevel.alphabet())
ALPHABET = (*BYTES, *(f"{byte}</w>" for byte in BYTES))


class Clip(nn.Module):
    """Both towers of a CLIP and its tokenizer; full-size ones come from `from_pretrained`, small ones from `clip`."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: CLIPModel, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.register_buffer("mean", torch.tensor(OPENAI_CLIP_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(OPENAI_CLIP_STD)[:, None, None], persistent=False)

    @property
    def dim(self) -> int:
        """How many values an embedding has."""
        return int(self.model.config.projection_dim)

    @property
    def image_size(self) -> int:
        """The side of the pictures it sees."""
        return int(self.model.config.vision_config.image_size)

    @property
    def context_length(self) -> int:
        """How many tokens of a text it reads, the start and the end among them."""
        return int(self.model.config.text_config.max_position_embeddings)

    def encode_images(self, images: Tensor) -> Tensor:
        """Pictures (n, 3, image_size, image_size) in [0, 1] as image_embeds (n, dim).

        Not normalised: a decoder is conditioned on them as they are. Divide by their length to compare them.
        """
        embeds: Tensor = self.model.get_image_features(pixel_values=(images - self.mean) / self.std).pooler_output
        return embeds.float()

    def encode_texts(self, token_ids: Tensor) -> Tensor:
        """Texts as `tokenize` gives them, (n, context_length), as text_embeds (n, dim), not normalised either."""
        embeds: Tensor = self.model.get_text_features(input_ids=token_ids).pooler_output
        return embeds.float()

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids (n, context_length), padded with the end; what does not fit is cut, see `n_cut`."""
        length = self.context_length
        encoded = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        token_ids: Tensor = encoded.input_ids
        return token_ids

    def n_cut(self, text: str) -> int:
        """How many tokens at the end of a text are not read."""
        return max(0, len(self.tokenizer(text, verbose=False).input_ids) - self.context_length)


def clip(
    image_size: int,
    patch_size: int,
    hidden_size: int,
    vision_layers: int,
    text_layers: int,
    projection_dim: int,
    context_length: int,
    merges: Sequence[str],
) -> Clip:
    """An untrained CLIP with towers of one width, a multiple of `HEAD_DIM`; merges: see `learn_merges`."""
    tokenizer = make_tokenizer(merges)
    tower = {
        "hidden_size": hidden_size,
        "intermediate_size": 4 * hidden_size,
        "num_attention_heads": hidden_size // HEAD_DIM,
        "projection_dim": projection_dim,
    }
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": context_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(
        vision_config={**tower, "image_size": image_size, "patch_size": patch_size, "num_hidden_layers": vision_layers},
        text_config={**tower, **text, "num_hidden_layers": text_layers},
        projection_dim=projection_dim,
    )
    return Clip(CLIPModel(config), tokenizer)


def make_tokenizer(merges: Sequence[str]) -> CLIPTokenizer:
    """CLIP's tokenizer over the bytes and what the merges, such as "a t", make of them, in that order."""
    pairs: list[Any] = [tuple(merge.split(" ")) for merge in merges]
    # Two merges may make the same token, which has one id then.
    tokens = dict.fromkeys([*ALPHABET, *("".join(pair) for pair in pairs), START, END])
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs)


def learn_merges(texts: Iterable[str], n_merges: int) -> list[str]:
    """The first merges of byte-pair encoding, each joining the two tokens most often side by side in the texts.

    Sennrich, Haddow and Birch 2016, "Neural machine translation of rare words with subword units", algorithm 1.
    """
    backend: Any = make_tokenizer([]).backend_tokenizer
    trainer = BpeTrainer(
        vocab_size=len(ALPHABET) + n_merges, initial_alphabet=BYTES, end_of_word_suffix="</w>", show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    merges = json.loads(backend.to_str())["model"]["merges"]
    return [" ".join(pair) for pair in merges[:n_merges]]
