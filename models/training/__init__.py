"""One flat training loop per model: `python -m models.training.vae --help`."""
