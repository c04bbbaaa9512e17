"""What the syntax of a prompt means, with the weights of AUTOMATIC1111's web UI worked out by hand."""

import pytest

from models.diffusion.prompt_syntax import is_weighted, meant_word, parts_of, plain_syntax, translated, unknown_words


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
        ("a (red:1.3) hat", True),
        ("a ((red)) [hat]", True),
        ("[from:to:0.5] [red|green] [ ] ()", False),
    ],
)
def test_a_weight_is_recognized(prompt: str, weighted: bool) -> None:
    assert is_weighted(prompt) is weighted


@pytest.mark.parametrize(
    ("prompt", "written"),
    [
        ("a (red:1.5) hat", "a (red)1.5 hat"),
        ("a ( red : .5 ) hat", "a (red).5 hat".replace(".5", "0.5")),
        ("a ((red)) hat", "a (red)1.21 hat"),
        ("(((red)))", "(red)1.33"),
        ("a [red] [[hat]]", "a (red)0.91 ((hat)0.91)0.91"),
        ("((red:1.2) hat:1.3)", "((red)1.2 hat)1.3"),
        ("(a (red)1.4 hat:1.3)", "(a (red)1.4 hat)1.3"),
        ("(a, (b), c:1.3)", "(a, (b), c)1.3"),
        ("(a [red] hat:0)", "(a (red)0.91 hat)0"),
        (r"(a smile \(big\):1.3)", r"(a smile \(big\))1.3"),
        ("a hat (red), (16:9), [a:b:0.5], [a|b]", "a hat (red), (16:9), [a:b:0.5], [a|b]"),
        ("a :1.2)", "a :1.2)"),
    ],
)
def test_weights_of_the_web_ui_are_written_as_compel_does(prompt: str, written: str) -> None:
    assert translated(prompt) == written
    assert translated(written) == written


def test_thousands_of_brackets_take_no_time() -> None:
    for prompt in ("(" * 2000, "(a:" * 600, "[" * 1999 + "x", "((a" * 600):
        assert translated(prompt) == prompt


def test_break_divides_a_prompt() -> None:
    assert parts_of("a man BREAK a hat BREAK") == ["a man", "a hat"]
    assert parts_of("a BREAKFAST") == ["a BREAKFAST"]
    assert parts_of("BREAK") == parts_of("") == [""]


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a (red:1.5) hat, [smiling], ((old)) BREAK a man", []),
        ("a man AND a hat <hypernet:ink:0.8>", ["AND", "<hypernet:ink:0.8>"]),
        ("a {red|green} hat, __color__, smiling++", ["{red|green}", "__color__", "smiling++"]),
        ("[from:to:0.5] (16:9)", ["[from:to:0.5]", "(16:9)"]),
        ('("a man", "a hat").blend(1, 1)', [").blend("]),
        ("a (red)1.4 hat, a man (smiling), and a well-known one - 16:9, it's 1.5", []),
        ("", []),
    ],
)
def test_syntax_that_is_read_as_text_is_found(prompt: str, found: list[str]) -> None:
    assert plain_syntax(prompt) == found


def test_weights_are_syntax_too_where_a_model_reads_none() -> None:
    prompt = "a (red)1.4 (green)+ (blue:1.2) hat BREAK ((one)) [more]"
    assert plain_syntax(prompt, weights=True) == ["(red)1.4", "(green)+", "(blue:1.2)", "BREAK", "((one))", "[more]"]


def test_words_that_no_caption_has_are_unknown() -> None:
    known = ["a", "man", "with", "red", "hat"]
    assert unknown_words("A (red)1.3 man WITH a Red hat, 2.5", known) == []
    assert unknown_words("a dragon on a man's hat, a dragon", known) == ["dragon", "on", "man's"]
    assert unknown_words("a man BREAK <hypernet:ink:1> AND a hat", known) == []


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *[("glases", "glasses"), ("glassses", "glasses"), ("galsses", "glasses"), ("smilign", "smiling")],
        *[("gglasses", "glasses"), ("wooman", "woman"), ("cat", None), ("ht", None), ("lasses", None)],
    ],
)
def test_a_slip_of_the_hand_is_recognized(word: str, meant: str | None) -> None:
    assert meant_word(word, ["hat", "glasses", "smiling", "woman"]) == meant
