"""Style transfer: by optimization (`gatys`) and by one pass through a pretrained network (`fast`)."""
