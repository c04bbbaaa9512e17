"""Generates a part of an image anew, where a mask is white."""

from PIL import Image, ImageDraw

from atelier_client import Atelier

MODEL = "stable-diffusion-avatars"

atelier = Atelier()
face = atelier.generate(model=MODEL, mode="text-to-image", prompt="a man", num_inference_steps=5, seed=3, upscale=1)
image = face.wait().outputs[0].image().convert("RGB")
mask = Image.new("L", image.size, "black")
ImageDraw.Draw(mask).rectangle((0, 0, image.width, image.height // 3), "white")
job = atelier.generate(
    model=MODEL, mode="inpaint", prompt="a man with a yellow hat", image=image, mask=mask, num_inference_steps=5
)
print(job.wait(progress=True).outputs[0].save("hat.png"))
