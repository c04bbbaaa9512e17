"""Training loops, one module per model: `python -m models.training.vae --help`."""
