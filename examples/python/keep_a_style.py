"""Invents a style between paintings, keeps it, and paints a photo with it."""

from atelier_client import Atelier

PHOTO = "examples/photos/chelsea.jpg"

atelier = Atelier()
job = atelier.collect(
    name="Styles", space="style", data="styles", limit=30, clusterings=[{"method": "kmeans", "n_clusters": 3}]
)
styles = job.wait(progress=True).collection
invented = styles.sample(cluster=0, n=1, content=PHOTO, size=128, seed=3).wait(progress=True)
style = atelier.keep_style("Invented", invented.outputs[0])
job = atelier.style_transfer(content=PHOTO, style=style["id"], size=256)
print(job.wait(progress=True).outputs[0].save("invented.png"))
