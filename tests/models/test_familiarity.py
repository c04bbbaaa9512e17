"""Shipped models, and what they say of images and texts of their training data and of others."""

import numpy as np
import pytest
import torch

from models.build import load_model
from models.catalogue import card
from models.data.named import named_dataset
from models.familiarity import reconstruction_errors, training_facts
from models.tensors import to_tensor


@pytest.mark.parametrize(
    "model_id", ["vae-smileys", "dcgan-avatars", "vae-digits-8", "cyclegan-avatars-glasses", "stable-diffusion-avatars"]
)
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


def test_a_model_without_an_encoder_has_no_figure() -> None:
    model = load_model(card("gan-digits-4"))
    assert reconstruction_errors(model, torch.zeros(2, 1, 16, 16)) is None
    assert training_facts(model, named_dataset("digits", limit=20)) == {}


def test_a_card_says_which_words_the_captions_have() -> None:
    data = named_dataset("avatars", limit=40)
    facts = training_facts(load_model(card("stable-diffusion-avatars")), data)
    known = card("stable-diffusion-avatars").training["words"]
    assert {"man", "woman", "with", "glasses"} <= set(facts["words"]) <= set(known)
    assert facts["reconstruction_error"]["images"] == 40
    assert "words" not in training_facts(load_model(card("dcgan-avatars")), data), "it reads no texts"
