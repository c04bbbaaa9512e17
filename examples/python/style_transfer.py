"""Paints a photo in a built-in style and in the style of a painting."""

from atelier_client import Atelier

PHOTO, PAINTING = "examples/photos/chelsea.jpg", "examples/photos/strokes.jpg"

atelier = Atelier()
for name, style in (("built-in", "builtin:starry-blue"), ("painting", PAINTING)):
    job = atelier.style_transfer(content=PHOTO, style=style, size=256).wait(progress=True)
    print(job.outputs[0].save(f"{name}.png"))
