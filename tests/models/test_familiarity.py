"""Shipped models, and what they say of images and texts of their training data and of others."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from models.build import load_model
from models.catalogue import card
from models.data.named import named_dataset
from models.familiarity import FLOOR, contrasts, familiarity, reconstruction_errors, training_facts
from models.tensors import to_tensor

MODELS = (
    *("vae-smileys", "dcgan-avatars", "vae-digits-8", "cyclegan-avatars-glasses", "stable-diffusion-avatars"),
    "kandinsky-avatars",
)
PHOTOS = ("chelsea", "coffee", "astronaut", "moon")  # the last has hardly an edge


@pytest.mark.parametrize("model_id", MODELS)
def test_held_out_images_are_reconstructed_as_training_images_are_and_noise_is_not(model_id: str) -> None:
    found = card(model_id)
    model, greatest = load_model(found), found.training["reconstruction_error"]["greatest"]
    held_out = to_tensor(named_dataset(found.source["data"], "test", 64).images)
    errors = reconstruction_errors(model, held_out)
    assert errors is not None and errors.shape == (64,)
    assert (errors <= greatest).float().mean() >= 60 / 64
    noise = torch.from_numpy(np.random.default_rng(0).random(held_out.shape, np.float32))
    errors = reconstruction_errors(model, noise)
    assert errors is not None and (errors > greatest).all()


@pytest.mark.parametrize("model_id", ["kandinsky-avatars", "dcgan-avatars"])
def test_photographs_are_unlike_drawn_faces_even_smooth_ones(model_id: str) -> None:
    found = card(model_id)
    photos = [np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB").resize((64, 64))) for name in PHOTOS]
    model, figures = load_model(found), found.training["reconstruction_error"]
    assert familiarity(model, to_tensor(np.stack(photos)), figures).unlike.all()
    faces = to_tensor(named_dataset("avatars", "test", 64).images)
    assert familiarity(model, faces, figures).unlike.float().mean() <= 0.05


def test_the_contrast_of_stripes() -> None:
    """Half of the pixels are 0 and half 1: each is half a unit away from the mean."""
    stripes = torch.tensor([0.0, 1.0]).repeat(2).expand(1, 3, 4, 4)
    assert contrasts(stripes).item() == pytest.approx(0.5 + FLOOR)


def test_a_model_without_an_encoder_has_no_figure() -> None:
    model = load_model(card("gan-digits-4"))
    assert reconstruction_errors(model, torch.zeros(2, 1, 16, 16)) is None
    assert training_facts(model, named_dataset("digits", limit=20)) == {}


def test_a_card_says_which_words_the_captions_have() -> None:
    faces = named_dataset("avatars", limit=40)
    facts = training_facts(load_model(card("stable-diffusion-avatars")), faces)
    known = card("stable-diffusion-avatars").training["words"]
    assert {"man", "woman", "with", "glasses"} <= set(facts["words"]) <= set(known)
    assert facts["reconstruction_error"]["images"] == 40
    assert "words" not in training_facts(load_model(card("dcgan-avatars")), faces), "it reads no texts"
