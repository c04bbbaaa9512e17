"""Paints an animation, frame after frame; a GIF, a WebP or an MP4."""

from pathlib import Path

from atelier_client import Atelier

atelier = Atelier()
film = atelier.upload_file(Path("docs/images/space-animation.webp"))
job = atelier.start("/v1/style-transfers", {"mode": "film", "film": film, "style": "builtin:19", "n_frames": 4})
print(job.wait(progress=True).outputs[0].save("film.webp"))
