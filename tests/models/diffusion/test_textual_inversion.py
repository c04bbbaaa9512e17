"""Textual inversions in the published layouts, on tiny models of the real classes and on the mini."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.diffusion.prompts import embeddings
from models.diffusion.text_to_image import TextToImageModel, chunks
from models.diffusion.textual_inversion import read_vectors, with_textual_inversions
from models.errors import AdditionError


def encoders(model: TextToImageModel) -> list[Any]:
    names = ("text_encoder", "text_encoder_2")
    return [getattr(model.pipeline, name) for name in names if getattr(model.pipeline, name, None) is not None]


def state_of(vectors: list[Tensor], key: str) -> dict[str, Tensor]:
    keys = [key] if len(vectors) == 1 else ["clip_l", "clip_g"]
    return dict(zip(keys, vectors, strict=True))


def of_words(model: TextToImageModel, *words: str) -> list[Tensor]:
    """The vectors that the model itself has for words of one token each."""
    ids = model.pipeline.tokenizer(" ".join(words)).input_ids[1:-1]
    assert len(ids) == len(words)
    return [encoder.get_input_embeddings().weight[ids].detach().clone() for encoder in encoders(model)]


def read(model: TextToImageModel, prompt: str) -> dict[str, Tensor]:
    """What the text encoders make of a prompt."""
    with torch.inference_mode():
        return embeddings(model.pipeline, [prompt], [""])


def alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.allclose(value, other[name], atol=1e-4) for name, value in one.items())


@pytest.mark.parametrize("key", ["emb_params", "<Cat-Toy>"])
def test_vectors_of_words_are_read_as_these_words(model: TextToImageModel, key: str, tmp_path: Path) -> None:
    before = [encoder.get_input_embeddings().weight.detach().clone() for encoder in encoders(model)]
    save_file(state_of(of_words(model, "hat", "a"), key), tmp_path / "x.safetensors")
    plain, other, weighted = (read(model, prompt) for prompt in ("a hat a", "a", "a (hat a)1.5"))
    assert not alike(plain, other) and not alike(plain, weighted)
    with with_textual_inversions(model, {"<Cat-Toy>": tmp_path / "x.safetensors"}) as write:
        assert write("a <cat-toy>, b") == "a inversion0vector0 inversion0vector1, b"
        assert write("a<cat-toy>") == "a<cat-toy>", "it is a part of another word"
        assert alike(read(model, write("a <CAT-TOY>")), plain)
        assert alike(read(model, write("a (<CAT-TOY>)1.5")), weighted)
        assert chunks(model, write("a <cat-toy>")) == 1 < chunks(model, write(" <cat-toy>" * 40))
        assert alike(read(model, "a"), other)
    for encoder, weight in zip(encoders(model), before, strict=True):
        assert torch.equal(encoder.get_input_embeddings().weight, weight)
    assert alike(read(model, "a hat a"), plain)
    assert "inversion" not in " ".join(model.pipeline.tokenizer.get_vocab())


def test_several_stand_beside_each_other(model: TextToImageModel, tmp_path: Path) -> None:
    for name in ("hat", "a"):
        save_file(state_of(of_words(model, name), "emb_params"), tmp_path / f"{name}.safetensors")
    files = {"hat": tmp_path / "a.safetensors", "b": tmp_path / "hat.safetensors"}
    plain = read(model, "a hat")
    assert not alike(plain, read(model, "hat b"))
    with with_textual_inversions(model, files) as write:
        assert alike(read(model, write("hat b")), plain), "also instead of a known word"


def test_files_that_cannot_be_used_are_named(model: TextToImageModel, tmp_path: Path) -> None:
    path, widths = tmp_path / "x.safetensors", [each.shape[1] for each in of_words(model, "a")]
    right = state_of([torch.ones(2, width) for width in widths], "x")
    wrong: list[tuple[dict[str, Tensor], str]] = [
        (state_of([torch.ones(2, width + 1) for width in widths], "x"), "x.safetensors has vectors of "),
        ({"x": torch.ones(1, 999)}, "of 999 values, and the text encoder of "),
        ({"x": torch.ones(2, 3, 4)}, "holds no textual inversion: it has x tensors"),
        ({"x": torch.ones(0, 4)}, "holds no textual inversion"),
        ({"unet.a": torch.ones(2), "unet.b": torch.ones(2)}, "holds no textual inversion: it has unet.a, unet.b"),
        ({"clip_l": torch.ones(2, 4), "clip_g": torch.ones(3, 4)}, "holds no textual inversion"),
        ({"x": torch.full((2, 4), torch.nan)}, "x holds NaN or infinity"),
    ]
    for state, message in wrong:
        save_file(state, path)
        with pytest.raises(AdditionError, match=message), with_textual_inversions(model, {"x": path}):
            pass
    save_file(right, path)
    assert [tuple(each.shape) for each in read_vectors(path)] == [(2, width) for width in widths]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(AdditionError, match=r"x\.safetensors: "), with_textual_inversions(model, {"x": path}):
        pass
