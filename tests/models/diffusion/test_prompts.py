"""Weights in prompts, on tiny models of the real classes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.diffusion.prompts import embeddings, final_layer_norm, max_clip_skip, n_chunks, reads_weights, unweighted
from models.diffusion.text_to_image import TextToImageModel, chunks, cut_off, generate
from tests.models.diffusion.test_lora import STEPS, model  # noqa: F401 (a fixture)


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
        one, plain = (embeddings(model.pipeline, [prompt], [""]) for prompt in ("(a hat)1.0", "a hat"))
    assert one.keys() == plain.keys()
    for name in plain:
        torch.testing.assert_close(one[name], plain[name], atol=1e-4, rtol=1e-4)


def test_what_the_web_ui_writes_has_the_same_embeddings(model: TextToImageModel) -> None:  # noqa: F811
    with torch.inference_mode():
        one, other = (embeddings(model.pipeline, [prompt], [""]) for prompt in ("a (hat:1.5)", "a (hat)1.5"))
        plain = embeddings(model.pipeline, ["a hat"], [""])
    torch.testing.assert_close(one, other)
    assert (one["prompt_embeds"] - plain["prompt_embeds"]).abs().max() > 1e-3


def test_long_prompts_are_read_in_chunks_to_their_end(model: TextToImageModel) -> None:  # noqa: F811
    """Eight tokens are read at once, six of them words."""
    long = "hat " * 6 + "man"
    assert (n_chunks(model.pipeline, "hat " * 6), n_chunks(model.pipeline, long)) == (1, 2)
    assert cut_off(model, long) == "" and chunks(model, long, "fog") == 2
    with torch.inference_mode():
        found = embeddings(model.pipeline, [long, "fog"], ["", long])
        first, second = (embeddings(model.pipeline, [part], [""])["prompt_embeds"] for part in ("hat " * 6, "man"))
        nothing = embeddings(model.pipeline, [""], [""])["prompt_embeds"]
    assert all(value.shape[:2] == (2, 16) for name, value in found.items() if "pooled" not in name)
    torch.testing.assert_close(found["prompt_embeds"][:1], torch.cat([first, second], 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found["prompt_embeds"][1:, 8:], nothing, atol=1e-4, rtol=1e-4)
    image = made(model, [long])
    assert image.isfinite().all() and (image - made(model, ["hat " * 6])).abs().max() > 1e-3


def test_break_begins_a_chunk(model: TextToImageModel) -> None:  # noqa: F811
    with torch.inference_mode():
        found = embeddings(model.pipeline, ["a hat BREAK a (man:1.5)"], [""])["prompt_embeds"]
        parts = [embeddings(model.pipeline, [part], [""])["prompt_embeds"] for part in ("a hat", "a (man)1.5")]
    torch.testing.assert_close(found, torch.cat(parts, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prompt", ["a hat", "a (hat)1.0 BREAK no hat"])
def test_clip_skip_leaves_out_the_last_layers(model: TextToImageModel, prompt: str) -> None:  # noqa: F811
    """By hand: SD 1.5 normalizes the layer before the last; SDXL reads one layer earlier without, from two encoders."""
    pipeline: Any = model.pipeline
    pairs = [(pipeline.tokenizer, pipeline.text_encoder)]
    if hasattr(pipeline, "text_encoder_2"):
        pairs.append((pipeline.tokenizer_2, pipeline.text_encoder_2))
    expected = []
    with torch.inference_mode():
        for part in ["a hat", "no hat"][: 1 + ("BREAK" in prompt)]:
            states = []
            for tokenizer, encoder in pairs:
                ids = tokenizer(part, padding="max_length", max_length=8, return_tensors="pt").input_ids
                hidden = encoder(ids, output_hidden_states=True).hidden_states
                states.append(hidden[-3] if len(pairs) > 1 else final_layer_norm(encoder)(hidden[-2]))
            expected.append(torch.cat(states, dim=2))
        found = embeddings(pipeline, [prompt], [prompt], clip_skip=1)
        none = embeddings(pipeline, [prompt], [prompt])
    torch.testing.assert_close(found["prompt_embeds"], torch.cat(expected, dim=1), atol=1e-4, rtol=1e-4)
    assert torch.equal(found["prompt_embeds"], found["negative_prompt_embeds"])
    assert (found["prompt_embeds"] - none["prompt_embeds"]).abs().max() > 1e-3
    for name in {"pooled_prompt_embeds"} & found.keys():
        assert torch.equal(found[name], none[name])
    assert max_clip_skip(pipeline) == 2 - len(pairs)
