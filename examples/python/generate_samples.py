"""Generates faces by a DCGAN, and one face made of others by arithmetic on their latent codes."""

from atelier_client import Atelier

MODEL = "dcgan-avatars"

atelier = Atelier()
faces = atelier.generate(model=MODEL, n=4, seed=7).wait(progress=True)
print(faces.outputs[-1].save("faces.png"))  # the grid
mixed = atelier.generate(
    model=MODEL,
    mode="arithmetic",
    terms=[{"sign": "+", "seed": 7}, {"sign": "-", "seed": 8}, {"sign": "+", "seed": 9}],
)
print(mixed.wait(progress=True).outputs[0].save("mixed.png"))
