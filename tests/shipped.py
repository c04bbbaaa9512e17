"""For tests of the shipped models: until all of them are in models/weights, there is nothing to test."""

import pytest

from models.catalogue import cards

IDS = (
    *("vae-fashion-mnist-2", "gan-digits-8", "vae-smileys", "dcgan-avatars", "cyclegan-avatars-glasses", "ddpm-digits"),
    *("classifier-avatars", "classifier-digits", "classifier-fashion-mnist"),
)
needs_shipped = pytest.mark.skipif(not set(IDS) <= set(cards()), reason="the shipped models are not there yet")
