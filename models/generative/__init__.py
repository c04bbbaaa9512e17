"""Generators trained here: VAE, GAN, DCGAN with its encoder, CycleGAN, and the classifier that evaluates them."""
