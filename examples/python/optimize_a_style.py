"""Paints a photo by optimization (Gatys et al. 2016), starting from the fast result, and shows the loss by step."""

from atelier_client import Atelier

atelier = Atelier()
job = atelier.style_transfer(
    content="examples/photos/chelsea.jpg",
    style="examples/photos/strokes.jpg",
    method="gatys",
    size=96,
    num_steps=10,
    init="fast",
    loss_curve=True,
)
job.wait(progress=True)
for output in job.outputs:
    print(output.save(f"gatys-{output.role}.png"))
