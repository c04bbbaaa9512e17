"""Diffusion models, on the parts of diffusers."""
