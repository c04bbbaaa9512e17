"""Makes an image four times as large."""

from PIL import Image

from atelier_client import Atelier

photo = Image.open("examples/photos/chelsea.jpg")
photo.thumbnail((128, 128))

atelier = Atelier()
job = atelier.generate(mode="upscale", model="realesr-animevideov3", images=[photo], scale=4)
print(job.wait(progress=True).outputs[0].save("large.png"))
