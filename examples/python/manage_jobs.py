"""Submits several jobs at once, cancels one, and lists them."""

from atelier_client import Atelier, errors

atelier = Atelier()
jobs = [atelier.generate(model="dcgan-avatars", n=1, seed=seed) for seed in range(3)]
training = atelier.train(recipe="vae", data="digits")
training.cancel()
for job in [*jobs, training]:
    try:
        job.wait(timeout=60)
    except errors.JobCanceledError as error:
        print(error)
again = jobs[0].retry().wait()
print(*(f"{job.id} {job.status}" for job in atelier.jobs(status="succeeded", kind=again.kind)), sep="\n")
