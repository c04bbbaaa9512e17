"""Paints an animation, frame after frame; a GIF, a WebP or an MP4."""

from atelier_client import Atelier

film = "docs/images/space-animation.webp"
job = Atelier().style_transfer(mode="film", film=film, style="builtin:19", n_frames=4).wait(progress=True)
print(job.outputs[0].save("film.webp"))
