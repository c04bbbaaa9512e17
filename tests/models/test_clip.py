import math

import pytest
import torch
import torch.nn.functional as F

from models.clip import ALPHABET, Clip, clip, learn_merges, make_tokenizer
from models.data.avatars import avatars
from models.errors import TextTooLongError
from models.training.clip import alike_rows, contrastive_loss, most_alike, words_of

WORDS = ["a man with a red hat", "a woman with a red hat", "a man with a blue hat"]


def tiny(context_length: int = 12) -> Clip:
    torch.manual_seed(0)
    return clip(16, 8, 32, 1, 8, context_length, learn_merges(WORDS, 40)).eval()


def test_the_pair_most_often_side_by_side_is_joined_first() -> None:
    # a a stands three times, a b twice; then aa b twice, aa c once.
    assert learn_merges(["aab aab aac"], 2) == ["a a", "aa b</w>"]


def test_words_of_the_captions_become_one_token_each_and_come_back() -> None:
    tokenizer = make_tokenizer(learn_merges(WORDS, 40))
    ids = tokenizer(WORDS[0]).input_ids
    assert len(ids) == 2 + len(WORDS[0].split())
    assert tokenizer.decode(ids, skip_special_tokens=True) == WORDS[0]


@pytest.mark.parametrize("text", ["a zebra", "naïve", "漢字 🙂", "don't; x=1", ""])
def test_words_never_seen_come_back_as_they_were(text: str) -> None:
    tokenizer = make_tokenizer(learn_merges(WORDS, 40))
    ids = tokenizer(text).input_ids
    assert ids.count(tokenizer.eos_token_id) == 1, "an unknown token would be the end of the text"
    shown = str(tokenizer.decode(ids, skip_special_tokens=True))
    assert shown.replace(" ", "") == text.replace(" ", "")


def test_merges_that_make_the_same_token_leave_no_hole_in_the_ids() -> None:
    tokenizer = make_tokenizer(["a b", "b c</w>", "ab c</w>", "a bc</w>"])
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(ALPHABET) + 3 + 2))


def test_a_text_is_padded_and_a_long_one_is_cut() -> None:
    model = tiny(context_length=5)
    end = model.tokenizer.eos_token_id
    short, long = model.tokenize(["red", "a man with a red hat"])
    assert short.tolist()[2:] == [end, end, end]
    assert long.tolist() == [*model.tokenizer("a man with").input_ids[:4], end]
    model.check_length(["red", "a man with"])
    with pytest.raises(TextTooLongError, match=r"^the text has 8 tokens and the model reads 5$"):
        model.check_length(["red", "a man with a red hat"])


def test_the_padding_does_not_change_what_a_text_means() -> None:
    short, long = tiny(context_length=8), tiny(context_length=12)
    long.load_state_dict(
        {
            name: F.pad(value, (0, 0, 0, 4))
            if name.endswith("text_model.embeddings.position_embedding.weight")
            else value
            for name, value in short.state_dict().items()
        }
    )
    texts = ["a red hat", "a woman"]
    assert torch.allclose(short.encode_texts(short.tokenize(texts)), long.encode_texts(long.tokenize(texts)), atol=1e-5)


def test_embeddings_are_those_of_transformers_and_not_normalized() -> None:
    model = tiny()
    images, ids = torch.rand(3, 3, 16, 16), model.tokenize(WORDS)
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixel_values = (images - mean[:, None, None]) / std[:, None, None]
    out = model.model(input_ids=ids, pixel_values=pixel_values)
    image_embeds, text_embeds = model.encode_images(images), model.encode_texts(ids)
    assert image_embeds.shape == text_embeds.shape == (3, model.dim)
    assert torch.allclose(F.normalize(image_embeds), out.image_embeds, atol=1e-5)
    assert torch.allclose(F.normalize(text_embeds), out.text_embeds, atol=1e-5)
    assert not torch.allclose(image_embeds.norm(dim=1), torch.ones(3), atol=0.05)
    assert (model.image_size, model.context_length) == (16, 12)


def test_the_vocabulary_of_the_avatars_is_small() -> None:
    captions = avatars(600, processes=1).captions
    tokenizer = make_tokenizer(learn_merges(captions, 110))
    assert len(tokenizer) <= 640
    assert max(len(tokenizer(caption).input_ids) for caption in captions) <= 32


def test_a_batch_has_images_of_alike_colors() -> None:
    shades = torch.tensor([0, 100, 200, 2, 102, 202, 1, 101, 201], dtype=torch.uint8)
    neighbors = most_alike(shades[:, None, None, None].expand(-1, 3, 8, 8), 3)
    assert neighbors[:, 0].tolist() == list(range(9))
    assert [sorted(row) for row in neighbors[:3].tolist()] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    torch.manual_seed(0)
    rows = alike_rows(neighbors, batch_size=8, alike=3)
    groups = [rows[0:3], rows[3:6], rows[6:8]]
    assert len(rows) == 8 and all(len(set((group % 3).tolist())) == 1 for group in groups)
    assert all(len(set(group.tolist())) == len(group) for group in groups), "each once"
    assert len({alike_rows(neighbors, 1, 3).item() for _ in range(100)}) == 9, "every image comes"


def test_the_words_that_tell_captions_apart() -> None:
    token_ids = torch.tensor([[5, 1, 3, 0], [5, 3, 2, 0], [5, 3, 3, 0]])  # 5 begins and 0 ends all, 3 is in all
    assert words_of(token_ids).tolist() == [[1, 0], [0, 1], [0, 0]]


def test_the_loss_of_different_captions_is_that_of_the_paper() -> None:
    images, texts, scale = torch.randn(4, 6), torch.randn(4, 6), torch.tensor(5.0)
    logits = 5 * F.cosine_similarity(images[:, None], texts[None], dim=2).double()
    diagonal = [logits[i, i] - logits[i].logsumexp(0) / 2 - logits[:, i].logsumexp(0) / 2 for i in range(4)]
    loss = contrastive_loss(images, texts, scale, torch.arange(4))
    assert loss.item() == pytest.approx(-float(sum(diagonal)) / 4, rel=1e-5)


def test_equal_captions_are_all_right_by_hand() -> None:
    # Cosines 1 and 0 in each row, with answers 1/2 and 1/2: log(e + 1) - 1/2. Where captions differ, log(e + 1) - 1.
    embeds, scale = torch.eye(2), torch.tensor(1.0)
    both = math.log(math.e + 1)
    assert contrastive_loss(embeds, embeds, scale, torch.tensor([7, 7])).item() == pytest.approx(both - 0.5)
    assert contrastive_loss(embeds, embeds, scale, torch.tensor([7, 9])).item() == pytest.approx(both - 1)
