"""Style transfer: by optimisation (`gatys`) and by one pass through a pretrained network (`fast`)."""
