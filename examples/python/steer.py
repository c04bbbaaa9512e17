"""Moves an image along principal components of a collection, samples its clusters, and animates a path through it."""

from atelier_client import Atelier

atelier = Atelier()
job = atelier.collect(
    name="Digits",
    space="pixels",
    image_size=16,
    channels=1,
    data="digits",
    limit=60,
    clusterings=[{"method": "kmeans", "n_clusters": 5}],
)
digits = job.wait(progress=True).collection
steered = digits.steer(components=[{"component": 0}, {"component": 1, "strengths": [-2, 0, 2]}])
print(steered.wait(progress=True).outputs[-1].save("steered.png"))  # the grid
sampled = digits.sample(cluster=0, n=3, seed=2)
print(sampled.wait(progress=True).outputs[-1].save("samples.png"))
animated = digits.animate(path={"through": [{"cluster": 0}, {"cluster": 1}]}, n_frames=8)
print(animated.wait(progress=True).outputs[0].save("animation.webp"))
