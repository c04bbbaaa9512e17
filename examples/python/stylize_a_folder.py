"""Paints all images of a folder as one job."""

from pathlib import Path

from atelier_client import Atelier

FOLDER = Path("painted")

atelier = Atelier()
photos = Path("examples/photos").glob("*.jpg")
job = atelier.style_transfer(mode="many", contents=[*photos], style="builtin:19", size=256).wait(progress=True)
FOLDER.mkdir(exist_ok=True)
for output in job.outputs:
    print(output.save(FOLDER))
