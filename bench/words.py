"""Measures how a model of avatars follows prompts in words of people: `python -m bench.words`.

The classifier of the avatars judges the images. Three groups of paraphrases, with typing errors in a quarter of them:
templates that the model was trained on, templates that it was not, and sentences with a synonym that it was not; then
prompts written by hand, twice each.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from models.build import load_model
from models.catalogue import cards
from models.data.avatars import random_face
from models.data.dataset import contact_sheet
from models.data.paraphrases import HELD_OUT, TEMPLATES, Paraphrase, paraphrase, typed
from models.data.phrases import HELD_OUT_WORDS, pick
from models.diffusion.embedding import Kandinsky
from models.diffusion.text_to_image import TextToImageModel, generate
from models.judge import Judge, judge_of, present
from models.pixels import ImageArray
from models.tensors import autocast, expect_class, to_pixels
from models.training.recipe import frozen_model

BATCH = 32
# What each prompt names: attributes, with - those that it names as absent (-woman is a man), with ~ by a negation.
PROMPTS = {
    "man without glasses": "-woman ~glasses",
    "orange hat": "hat",
    "a guy in a green cap": "-woman hat green_hat",
    "woman with long blonde hair": "woman long_hair blond_hair",
    "lady with spectacles": "woman glasses",
    "happy old man": "-woman smiling",
    "a sad girl, blue backdrop": "woman frowning blue_background",
    "man with a moustache and no glasses": "-woman mustache ~glasses",
    "ginger woman wearing a purple beanie": "woman red_hair hat purple_hat",
    "smilng woman with glases": "woman smiling glasses",
    "portrait of a gentleman, gray hair, serious": "-woman grey_hair neutral",
    "shocked dude, yellow cap, pink wall": "-woman surprised hat yellow_hat pink_background",
    "she has long black hair and isn't smiling": "woman long_hair black_hair ~smiling",
    "Blonde woman, red hat, blue background.": "woman blond_hair hat red_hat blue_background",
    "clean-shaven man with short brown hair": "-woman ~mustache -long_hair brown_hair",
    "dark skinned woman with white hair": "woman dark_skin grey_hair",
    "pls a cheerful guy w/ specs": "-woman smiling glasses",
    "WOMAN IN A RED HAT": "woman hat red_hat",
    "no hat, no glasses, just a smiling woman": "~hat ~glasses smiling woman",
    "girl with red hair and a green hat": "woman red_hair hat green_hat",
    "man with a blue hat on a green background": "-woman hat blue_hat green_background",
    "grey haired lady, grumpy": "woman grey_hair frowning",
    "male, long hair, white background, no mustache": "-woman long_hair white_background ~mustache",
    "wmoan wiht long balck hair": "woman long_hair black_hair",
}
COLORED = ("_hair", "_skin", "_hat", "_background")
NEW_WORDS = [word for words in HELD_OUT_WORDS.values() for word in words]
Figures = dict[str, str]


def by_hand(prompt: str) -> Paraphrase:
    """Returns a prompt of `PROMPTS` with what it names."""
    marks = PROMPTS[prompt].split()
    named = {mark.lstrip("-~"): mark[0] not in "-~" for mark in marks}
    return Paraphrase(prompt, named, frozenset(mark[1:] for mark in marks if mark[0] == "~"))


def written(n: int, seed: int, templates: Sequence[str], *, new_words: bool) -> list[Paraphrase]:
    """Writes paraphrases of faces that are in no training set; with `new_words` each has a held-out synonym."""
    rng = np.random.default_rng([7, seed])
    texts: list[Paraphrase] = []
    while len(texts) < n:
        text = paraphrase(random_face(rng), rng, template=pick(rng, templates), new_words=new_words)
        if not new_words or any(word in text.text for word in NEW_WORDS):
            texts.append(Paraphrase(typed(text.text, rng), text.named, text.negated))
    return texts


@torch.inference_mode()
def images_of(model: TextToImageModel | Kandinsky, texts: Sequence[Paraphrase]) -> ImageArray:
    """Generates one image of each text, with its place as the seed."""
    parts = []
    for start in range(0, len(texts), BATCH):
        prompts = [text.text for text in texts[start : start + BATCH]]
        seeds = range(start, start + len(prompts))
        with autocast(torch.device("cpu")):
            if isinstance(model, Kandinsky):
                text_embeds = model.clip.encode_texts(model.clip.tokenize(prompts))  # truncated
                parts.append(model.decode(model.prior(F.normalize(text_embeds)), seeds=seeds))
            else:
                parts.append(generate(model, prompts, seeds=seeds, width=64, height=64))
    return np.concatenate([to_pixels(part) for part in parts])


def measured(judge: Judge, images: ImageArray, texts: Sequence[Paraphrase]) -> tuple[Figures, list[str]]:
    """Shares of what is named, negated and colored that the judge finds, and of whole texts; what each image lacks."""
    found, names = present(judge, images), judge.held_out.attribute_names
    kinds: dict[str, list[bool]] = {"named, shown": [], "negated, absent": [], "colors, on it": [], "whole": []}
    lacking = []
    for row, text in zip(found, texts, strict=True):
        right = {name: bool(row[names.index(name)]) == wanted for name, wanted in text.named.items()}
        kinds["named, shown"] += [value for name, value in right.items() if name not in text.negated]
        kinds["negated, absent"] += [value for name, value in right.items() if name in text.negated]
        kinds["colors, on it"] += [
            value for name, value in right.items() if name.endswith(COLORED) and name != "long_hair"
        ]
        kinds["whole"].append(all(right.values()))
        lacking.append(" ".join(name for name, value in right.items() if not value))
    return {kind: f"{np.mean(each):6.1%} of {len(each)}" for kind, each in kinds.items() if each}, lacking


def main() -> None:
    """Prints the table, and saves a sheet of the prompts by hand with what each image lacks."""
    parser = argparse.ArgumentParser(prog="python -m bench.words", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="stable-diffusion-avatars", help="the id of a model, or a training's folder")
    parser.add_argument("--texts", type=int, default=100, help="of each group (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the file of the sheet")
    args = parser.parse_args()
    loaded = frozen_model(args.model)[0] if "/" in args.model else load_model(cards()[args.model])
    model = loaded if isinstance(loaded, Kandinsky) else expect_class(loaded, TextToImageModel)
    judge = judge_of("avatars", 16)
    hand = [by_hand(prompt) for prompt in PROMPTS for _ in range(2)]
    groups = {
        "templates of the training": written(args.texts, 0, [*TEMPLATES], new_words=False),
        "new templates": written(args.texts, 1, [*HELD_OUT], new_words=False),
        "new synonyms": written(args.texts, 2, [*TEMPLATES], new_words=True),
        "by hand": hand,
    }
    for group, texts in groups.items():
        images = images_of(model, texts)
        figures, lacking = measured(judge, images, texts)
        print(f"{group:26}", *(f"{kind}: {figure:14}" for kind, figure in figures.items()), flush=True)
        if group == "by hand" and args.out:
            titles = [
                f"{text.text} [{lacks}]" if lacks else text.text for text, lacks in zip(texts, lacking, strict=True)
            ]
            contact_sheet(images, columns=12, captions=titles, scale=2).save(args.out)


if __name__ == "__main__":
    main()
