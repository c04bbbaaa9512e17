"""CLIP: embeds images and texts in one space, with the networks and the tokenizer of transformers.

Radford et al. 2021, "Learning transferable visual models from natural language supervision".
"""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from models.errors import TextTooLongError

HEAD_DIM, START, END = 32, "<|startoftext|>", "<|endoftext|>"
# Any text is bytes: with these no word is unknown. A word's last one is a token of its own, as in CLIP's vocabulary.
BYTES = sorted(ByteLevel.alphabet())
ALPHABET = (*BYTES, *(f"{byte}</w>" for byte in BYTES))


def tokenized(tokenizer: Any, texts: Sequence[str], length: int) -> Tensor:
    """Tokenizes texts as ids (n, length), padded with the end token and truncated."""
    encoded = tokenizer(list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    token_ids: Tensor = encoded.input_ids
    return token_ids


class Clip(nn.Module):
    """Both towers of a CLIP and its tokenizer; small ones are built by `clip`."""

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
        """Number of values of an embedding."""
        return int(self.model.config.projection_dim)

    @property
    def image_size(self) -> int:
        """Side in pixels of the images to encode."""
        return int(self.model.config.vision_config.image_size)

    @property
    def context_length(self) -> int:
        """Number of tokens of a text that are read, including the start and the end."""
        return int(self.model.config.text_config.max_position_embeddings)

    def encode_images(self, images: Tensor) -> Tensor:
        """Encodes images (n, 3, image_size, image_size) in [0, 1] as image_embeds (n, dim).

        Not normalized: a decoder is conditioned on them as they are. Divide by their length to compare them.
        """
        embeds: Tensor = self.model.get_image_features(pixel_values=(images - self.mean) / self.std).pooler_output
        return embeds.float()

    def encode_texts(self, token_ids: Tensor) -> Tensor:
        """Encodes token ids (n, context_length) of `tokenize` as text_embeds (n, dim), not normalized."""
        embeds: Tensor = self.model.get_text_features(input_ids=token_ids).pooler_output
        return embeds.float()

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Tokenizes texts as ids (n, context_length), padded and truncated; see `check_length`."""
        return tokenized(self.tokenizer, texts, self.context_length)

    def check_length(self, texts: Sequence[str]) -> None:
        """Raises TextTooLongError for a text that would be truncated."""
        n_tokens = max(len(each) for each in self.tokenizer(list(texts), verbose=False).input_ids)
        if n_tokens > self.context_length:
            raise TextTooLongError(f"the text has {n_tokens} tokens and the model reads {self.context_length}")


def clip(
    image_size: int,
    base_channels: int,
    hidden_size: int,
    text_layers: int,
    projection_dim: int,
    context_length: int,
    merges: Sequence[str],
) -> Clip:
    """Builds an untrained CLIP; `hidden_size` is a multiple of `HEAD_DIM`, `image_size` of 16; see `learn_merges`.

    base_channels: of the image tower, hidden_size: width of the text tower.
    """
    tokenizer = make_tokenizer(merges)
    tokenizer.model_max_length = context_length
    text = {
        "hidden_size": hidden_size,
        "intermediate_size": 4 * hidden_size,
        "num_attention_heads": hidden_size // HEAD_DIM,
        "num_hidden_layers": text_layers,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": context_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    # The tower that is built of this is changed for another below.
    vision = {"image_size": image_size, "hidden_size": HEAD_DIM, "num_attention_heads": 1, "num_hidden_layers": 1}
    model: Any = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=projection_dim))
    model.vision_model = _ImageTower(image_size, base_channels)
    model.visual_projection = nn.Linear(model.vision_model.dim, projection_dim, bias=False)
    return Clip(model, tokenizer)


class _ImageTower(nn.Module):
    """An image tower of convolutions that halve the image four times; the output is (n, dim).

    As in Radford et al.'s other half of models: of 20,000 images these learn in minutes what a transformer of their
    cost has not learned in an hour, glasses and smiles. It keeps their places, which attention has to find.
    """

    def __init__(self, image_size: int, base_channels: int) -> None:
        super().__init__()
        widths = [3, base_channels, 2 * base_channels, 4 * base_channels, 4 * base_channels]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.dim = widths[-1] * (image_size // 16) ** 2

    def forward(self, pixel_values: Tensor, **unused: Any) -> BaseModelOutputWithPooling:
        """Returns the output class of the towers of transformers."""
        return BaseModelOutputWithPooling(pooler_output=self.layers(pixel_values))


def make_tokenizer(merges: Sequence[str]) -> CLIPTokenizer:
    """Builds CLIP's tokenizer from bytes and merges such as "a t", in order."""
    pairs: list[Any] = [tuple(merge.split(" ")) for merge in merges]
    # Two merges may make the same token, which has one id then.
    tokens = dict.fromkeys([*ALPHABET, *("".join(pair) for pair in pairs), START, END])
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs)


def learn_merges(texts: Iterable[str], n_merges: int) -> list[str]:
    """Learns the first merges of byte-pair encoding; each joins the most frequent pair of adjacent tokens in the texts.

    Sennrich, Haddow and Birch 2016, "Neural machine translation of rare words with subword units", algorithm 1.
    """
    backend: Any = make_tokenizer([]).backend_tokenizer
    trainer = BpeTrainer(
        vocab_size=len(ALPHABET) + n_merges, initial_alphabet=BYTES, end_of_word_suffix="</w>", show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    merges = json.loads(backend.to_str())["model"]["merges"]
    return [" ".join(pair) for pair in merges[:n_merges]]
