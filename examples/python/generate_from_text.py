"""Generates an image from a text, then changes it by another text."""

from atelier_client import Atelier

MODEL = "stable-diffusion-avatars"

atelier = Atelier()
woman = atelier.generate(
    model=MODEL, mode="text-to-image", prompt="a smiling woman with a red hat", num_inference_steps=5, seed=1, upscale=1
).wait(progress=True)
print(woman.outputs[0].save("woman.png"))
glasses = atelier.generate(
    model=MODEL,
    mode="image-to-image",
    prompt="a smiling woman with glasses and a red hat",
    image=woman.outputs[0].image(),
    num_inference_steps=5,
    strength=0.6,
)
print(glasses.wait(progress=True).outputs[0].save("glasses.png"))
