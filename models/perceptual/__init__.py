"""Features of a pretrained VGG network, and the losses computed on them."""
