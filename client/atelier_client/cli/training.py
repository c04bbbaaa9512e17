"""The command `train`."""

from typing import Annotated

import typer

from atelier_client.cli.options import Fields, Json, Limit, NoWait, Output, Seed, Show, examples, request
from atelier_client.cli.service import connected
from atelier_client.cli.work import Work

app = typer.Typer()


@app.command(
    epilog=examples(
        "atelier train vae digits --title 'My digits' --steps 20 -o samples",
        "model=$(atelier train gan digits --steps 20)",
        "atelier generate --model $model -o digits.png",
    )
)
def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="vae, gan, dcgan, cyclegan, ddpm, classifier, style, lora, …")],
    data: Annotated[str, typer.Argument(help="A folder, a zip file or a named set.")],
    *,
    title: Annotated[str | None, typer.Option(help="The name of the model in lists.")] = None,
    steps: Annotated[int | None, typer.Option(help="How many steps; by the recipe when absent.")] = None,
    limit: Limit = None,
    seed: Seed = None,
    settings: Fields = None,
    output: Output = None,
    as_json: Json = False,
    show: Show = False,
    no_wait: NoWait = False,
) -> None:
    """Trains a model, and prints its id."""
    params = request(settings, recipe=recipe, data=data, title=title, num_steps=steps, limit=limit, seed=seed)
    with connected(context) as atelier:
        work = Work(output, as_json, show, no_wait)
        work.one(atelier, "/v1/trainings", params, lambda job: str(job.metrics["model"]))
