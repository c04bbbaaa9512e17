"""The HTTP face of Atelier."""
