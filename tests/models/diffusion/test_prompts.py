"""Weights in prompts, on tiny models of the real classes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.diffusion.prompts import embeddings, is_weighted, plain_syntax, reads_weights, unknown_words, unweighted
from models.diffusion.text_to_image import TextToImageModel, cut_off, generate
from tests.models.diffusion.test_lora import STEPS, model  # noqa: F401 (a fixture)


@pytest.mark.parametrize(
    ("prompt", "weighted"),
    [
        ("a hat", False),
        ("a hat (red)", False),
        (r"a hat (red\)2", False),
        ("a hat, 1.3", False),
        ("a (red)1.3 hat", True),
        ("a (red).5 hat", True),
        ("a (red)+ hat", True),
        ("(a)-", True),
    ],
)
def test_a_weight_follows_a_parenthesis(prompt: str, weighted: bool) -> None:
    assert is_weighted(prompt) is weighted


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a (red:1.5) hat, [smiling] <lora:ink:0.8>", ["(red:1.5)", "[smiling]", "<lora:ink:0.8>"]),
        ("a man BREAK a woman AND a hat", ["BREAK", "AND"]),
        ("a ((red)) hat", ["((red))"]),
        ("a {red|green} hat, __color__, smiling++", ["{red|green}", "__color__", "smiling++"]),
        ("[from:to:0.5]", ["[from:to:0.5]"]),
        ('("a man", "a hat").blend(1, 1)', [").blend("]),
        ("a (red)1.4 hat, a man (smiling), and a well-known one - 16:9, it's 1.5", []),
        ("", []),
    ],
)
def test_syntax_of_other_programs_is_found(prompt: str, found: list[str]) -> None:
    assert plain_syntax(prompt) == found


def test_weights_are_syntax_too_where_a_model_reads_none() -> None:
    assert plain_syntax("a (red)1.4 (green)+ hat", weights=True) == ["(red)1.4", "(green)+"]


def test_words_that_no_caption_has_are_unknown() -> None:
    known = ["a", "man", "with", "red", "hat"]
    assert unknown_words("A (red)1.3 man WITH a Red hat, 2.5", known) == []
    assert unknown_words("a dragon on a man's hat, a dragon", known) == ["dragon", "on", "man's"]
    assert unknown_words("a man BREAK <lora:ink:1> AND a hat", known) == []


def test_the_words_without_their_weights() -> None:
    assert unweighted("a (red)1.3 hat").split() == ["a", "red", "hat"]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("(a)9", "weights must be 0 to 5"),
        ('("a (b)1.1", "c").blend(1, 1)', "more than weights of words"),
        ("a.swap(b) (c)1.2", "more than weights of words"),
        ("((a)1.2", "parentheses do not match"),
        ("a) ((b)1.2", "parentheses do not match"),
        ("(((((a)1.1)1.1)1.1)1.1)1.1", "nested more than 4 deep"),
        ("(" * 500 + "a)1.2", "parentheses do not match"),  # for which compel would need longer than there is time
    ],
)
def test_what_cannot_be_read_is_refused(prompt: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unweighted(prompt)


def made(model: TextToImageModel, prompts: list[str], **more: Any) -> Tensor:  # noqa: F811
    with torch.inference_mode():
        return generate(model, prompts, seeds=range(1, 1 + len(prompts)), **STEPS, **more)


def test_weights_change_the_image_and_leave_plain_prompts_as_they_are(model: TextToImageModel) -> None:  # noqa: F811
    plain = made(model, ["a hat", "a man"], negative_prompts=["fog", "fog"])
    weighted = made(model, ["a hat", "a (man)2"], negative_prompts=["fog", "fog"])
    assert (plain[0] - weighted[0]).abs().max() < 1e-3 < (plain[1] - weighted[1]).abs().max()
    less = made(model, ["a hat", "a man"], negative_prompts=["(fog)2", "fog"])
    assert (plain[1] - less[1]).abs().max() < 1e-3 < (plain[0] - less[0]).abs().max()


def test_a_weight_of_one_is_no_weight(model: TextToImageModel) -> None:  # noqa: F811
    assert reads_weights(model.pipeline)
    with torch.inference_mode():
        one, plain = (embeddings(model.pipeline, [prompt]) for prompt in ("(a hat)1.0", "a hat"))
    assert one.keys() == plain.keys()
    for name in plain:
        torch.testing.assert_close(one[name], plain[name], atol=1e-4, rtol=1e-4)


def test_the_part_that_is_cut_off_is_returned_as_text(model: TextToImageModel) -> None:  # noqa: F811
    assert cut_off(model, "(hat hat hat hat)1.5 hat hat hat hat").split() == ["hat", "hat"]
    assert cut_off(model, "(hat)1.5") == ""
