"""Trains a model, follows its events, and generates images by it."""

from atelier_client import Atelier

atelier = Atelier()
training = atelier.train(recipe="vae", data="digits", num_steps=20, sample_every=10, title="My digits")
for event in training.events():
    print(event.type, event.data.get("message", ""))
model = training.metrics["model"]
print(model, atelier.model(model)["title"])
samples = atelier.generate(model=model, n=4).wait()
print(samples.outputs[-1].save("digits.png"))
