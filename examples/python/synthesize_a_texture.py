"""Synthesizes a texture from noise (Gatys et al. 2015)."""

from atelier_client import Atelier

atelier = Atelier()
job = atelier.style_transfer(mode="texture", style="examples/photos/strokes.jpg", size=96, num_steps=10)
print(job.wait(progress=True).outputs[0].save("texture.png"))
