"""Upscaling of images by networks."""
