"""The shipped models do what their cards say, on images neither they nor their judge were trained on."""

from dataclasses import replace

import numpy as np
import pytest

import models.evaluate
from models.build import load_model
from models.catalogue import Card, cards
from models.data.dataset import in_gray
from models.data.named import named_dataset
from models.diffusion.embedding import Kandinsky
from models.diffusion.text_to_image import generate
from models.evaluate import SAMPLERS, evaluate, mentions
from models.generative.classifier import Classifier
from models.judge import Judge, judge_of
from models.metrics import answers, certain
from models.space.quality import mixture_images
from models.space.space import space_of

SHIPPED = {card.id: card for card in cards().values() if card.source["kind"] == "trained"}


@pytest.fixture(scope="module")
def judges() -> dict[str, Judge]:
    return {data: judge_of(data, 300) for data in ("avatars", "digits", "smileys") if f"classifier-{data}" in SHIPPED}


@pytest.mark.parametrize("card", SHIPPED.values(), ids=SHIPPED)
def test_every_shipped_card_tells_data_training_and_quality(card: Card) -> None:
    assert "MIT" in card.license and card.architecture["name"]  # and that of the weights that a training starts from
    assert card.training["images"] > 0 and card.training["seconds"] > 0 and card.training["hardware"]
    assert card.quality


def test_the_judge_of_avatars_is_reliable(judges: dict[str, Judge]) -> None:
    quality = evaluate(SHIPPED["classifier-avatars"], judges["avatars"])
    print(quality)
    assert quality["accuracy"] > 0.99


def test_diffusion_comes_nearer_to_the_real_thing_than_the_other_two(judges: dict[str, Judge]) -> None:
    found = {name: evaluate(SHIPPED[name], judges["digits"]) for name in ("vae-digits-8", "gan-digits-2")}
    print(found)
    # The shipped card has the slower figure of the diffusion model.
    diffusion = SHIPPED["ddpm-digits"].quality["ddim-50"]
    for quality in found.values():
        assert quality["frechet_real"] < quality["sample"]["frechet"]
        assert diffusion["frechet"] < quality["sample"]["frechet"]


@pytest.mark.parametrize(
    "card", [card for card in SHIPPED.values() if card.architecture["name"] == "ddpm"], ids=lambda card: card.id
)
def test_diffusion_is_within_three_times_of_the_real_thing(card: Card) -> None:
    """The figures of its card; measuring them takes minutes."""
    found = [card.quality[f"{scheduler}-{steps}"]["frechet"] for scheduler, steps in SAMPLERS]
    assert max(found) < 3 * card.quality["frechet_real"]


def test_sampled_faces_show_the_attributes_they_are_conditioned_on(
    judges: dict[str, Judge], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.evaluate, "SAMPLERS", (("ddim", 2),))  # whose distances are not read here
    few = replace(judges["avatars"], real=judges["avatars"].real[:20])
    quality = evaluate(SHIPPED["ddpm-avatars"], few)
    print(quality)
    assert quality["attributes_shown"] > 0.88


def test_more_latent_values_reconstruct_better(judges: dict[str, Judge]) -> None:
    found = [evaluate(SHIPPED[f"vae-digits-{dim}"], judges["digits"]) for dim in (2, 4, 8)]
    errors, bounds = ([quality[name] for quality in found] for name in ("reconstruction_mse", "elbo"))
    print(errors, bounds)
    assert errors == sorted(errors, reverse=True) and bounds == sorted(bounds)


def test_what_a_caption_names() -> None:
    caption = "a smiling woman with dark skin, long red hair and a blue hat on a white background"
    named = {"smiling", "woman", "dark_skin", "long_hair", "red_hair", "hat", "blue_hat", "white_background"}
    wrong = {"frowning", "glasses", "red_hat", "blue_background", "white_hat", "man"}
    assert {name for name in named | wrong if mentions(name, caption)} == named


def test_images_show_what_their_texts_name(judges: dict[str, Judge], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generate.__kwdefaults__ or {}, "num_inference_steps", 10)  # instead of 25
    judge = judges["avatars"]
    quality = evaluate(
        SHIPPED["stable-diffusion-avatars"], replace(judge, held_out=judge.held_out.where(np.arange(20)))
    )
    print(quality)
    assert quality["attributes_shown"] > 0.85


def test_the_clip_space_keeps_finds_and_follows(judges: dict[str, Judge], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Kandinsky.decode.__kwdefaults__ or {}, "num_inference_steps", 6)  # a quarter of the default
    judge = judges["avatars"]
    few = replace(judge, held_out=judge.held_out.where(np.arange(20)))
    quality = evaluate(SHIPPED["kandinsky-avatars"], few)
    print(quality)
    assert quality["retrieval"]["text_to_image_1"] > 0.75 and quality["attributes_kept"] > 0.93
    assert quality["attributes_shown"] > 0.85
    assert quality["samples_in_their_cluster"] > 0.8 and quality["steering"]["right_direction"] > 0.9


def test_a_species_is_found_in_samples_of_a_mixture_of_flowers() -> None:
    flowers = in_gray(named_dataset("flowers", limit=120)).images
    card, judge = SHIPPED["vae-flowers"], load_model(SHIPPED["classifier-flowers"])
    assert isinstance(judge, Classifier)
    made = mixture_images(space_of(load_model(card), card.architecture), flowers, 60, covariance_type="full")
    found = answers(judge, made)
    print(certain(judge, made), np.unique(found))
    assert certain(judge, made) > 0.2 and len(np.unique(found)) >= 5
