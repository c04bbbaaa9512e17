"""Makes a collection of images; lists, searches and exports its members."""

from atelier_client import Atelier

atelier = Atelier()
job = atelier.collect(
    name="Digits",
    space="pixels",
    image_size=16,
    channels=1,
    data="digits",
    limit=60,
    clusterings=[{"method": "kmeans", "n_clusters": 5}],  # without, the number is searched
)
digits = job.wait(progress=True).collection
for name in digits.plots():
    digits.plot(name).save(f"digits-{name}.png")
cluster = list(digits.members(cluster=0))
near = digits.search(member=cluster[0]["id"], n=3).wait().metrics
print(f"{len(cluster)} digits in cluster 0; near the first: {near}")
print(digits.export("digits.parquet"))
