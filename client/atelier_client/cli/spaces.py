"""Commands of collections: `collect`, `steer`, `sample`, `animate`."""

from typing import Annotated, Any

import typer

from atelier_client import Atelier
from atelier_client.cli.files import images_of
from atelier_client.cli.options import Fields, Json, Limit, NoWait, Output, Seed, Show, examples, refuse, request
from atelier_client.cli.service import connected
from atelier_client.cli.work import Work

app = typer.Typer()

DIGITS = "atelier collect digits --name Digits --limit 40 --set space=pixels"
Collection = Annotated[
    str, typer.Argument(help="Its id, or its name: the newest of that name that is ready.", show_default=False)
]
Components = Annotated[list[int] | None, typer.Option("--component", "-c", help="A principal component, from 0.")]
Attributes = Annotated[list[str] | None, typer.Option("--attribute", "-a", help="An attribute of the members.")]


@app.command(epilog=examples("atelier collect examples/photos --name Photos -o plots", DIGITS))
def collect(
    context: typer.Context,
    data: Annotated[list[str], typer.Argument(help="A folder, a zip file, a named set, or images.")],
    *,
    name: Annotated[str, typer.Option(help="Its name in lists.")],
    space: Annotated[str | None, typer.Option(help="pixels, style, photo or a model; by the data when absent.")] = None,
    limit: Limit = None,
    seed: Seed = None,
    settings: Fields = None,
    output: Output = None,
    as_json: Json = False,
    show: Show = False,
    no_wait: NoWait = False,
) -> None:
    """Makes a collection of images, and prints its id."""
    source: dict[str, Any] = {"data": data[0]} if len(data) == 1 else {"images": images_of(data)}
    params = request(settings, name=name, space=space, limit=limit, seed=seed, **source)
    with connected(context) as atelier:
        work = Work(output, as_json, show, no_wait)
        work.one(atelier, "/v1/collections", params, lambda job: job.collection.id)


@app.command(epilog=examples(DIGITS, "atelier steer Digits -c 0 -c 1 -o steered.png"))
def steer(
    context: typer.Context,
    collection: Collection,
    *,
    start: Annotated[str | None, typer.Option(help="The image to move; the mean when absent.")] = None,
    components: Components = None,
    attributes: Attributes = None,
    style_from: Annotated[str | None, typer.Option(help="An image whose component scores to move towards.")] = None,
    seed: Seed = None,
    settings: Fields = None,
    output: Output = None,
    as_json: Json = False,
    show: Show = False,
    no_wait: NoWait = False,
) -> None:
    """Moves an image along components and attributes of a collection, each a row of a grid."""
    moves = [{"component": each} for each in components or ()] + [{"attribute": each} for each in attributes or ()]
    params = request(settings, start=start, components=moves or None, style_from=style_from, seed=seed)
    with connected(context) as atelier:
        params = {"collection": _id_of(atelier, collection), **params}
        Work(output, as_json, show, no_wait).one(atelier, "/v1/pc-steerings", params)


@app.command(epilog=examples(DIGITS, "atelier sample Digits --cluster 0 -n 3 -o samples"))
def sample(
    context: typer.Context,
    collection: Collection,
    *,
    cluster: Annotated[int | None, typer.Option(help="A cluster, from 0; all when absent.")] = None,
    n: Annotated[int | None, typer.Option("-n", help="How many images of each cluster; 8 when absent.")] = None,
    seed: Seed = None,
    settings: Fields = None,
    output: Output = None,
    as_json: Json = False,
    show: Show = False,
    no_wait: NoWait = False,
) -> None:
    """Samples new images of the clusters of a collection."""
    params = request(settings, cluster=cluster, n=n, seed=seed)
    with connected(context) as atelier:
        params = {"collection": _id_of(atelier, collection), **params}
        Work(output, as_json, show, no_wait).one(atelier, "/v1/cluster-samplings", params)


@app.command(epilog=examples(DIGITS, "atelier animate Digits -c 0 --set n_frames=8 -o zero.gif"))
def animate(
    context: typer.Context,
    collection: Collection,
    *,
    component: Annotated[int | None, typer.Option("--component", "-c", help="Along a component, from 0.")] = None,
    attribute: Annotated[str | None, typer.Option("--attribute", "-a", help="Along an attribute.")] = None,
    through: Annotated[list[str] | None, typer.Option(help="Through images; may be repeated.")] = None,
    cluster: Annotated[int | None, typer.Option(help="Through samples of a cluster, from 0.")] = None,
    seed: Seed = None,
    settings: Fields = None,
    output: Output = None,
    as_json: Json = False,
    show: Show = False,
    no_wait: NoWait = False,
) -> None:
    """Animates a path through the space of a collection."""
    path = {"component": component, "attribute": attribute, "through": through, "cluster": cluster}
    path = {name: value for name, value in path.items() if value is not None}
    params = request(settings, path=path or None, seed=seed)
    with connected(context) as atelier:
        params = {"collection": _id_of(atelier, collection), **params}
        Work(output, as_json, show, no_wait).one(atelier, "/v1/pc-animations", params)


def _id_of(atelier: Atelier, collection: str) -> str:
    """The id of a collection by its id or its name."""
    if collection.startswith("col_"):
        return collection
    known = sorted(atelier.collections(), key=lambda each: each["version"] is None)  # ready ones first, newest first
    for each in known:
        if each["name"] == collection:
            return each["id"]
    names = ", ".join(dict.fromkeys(each["name"] for each in known)) or "there are none"
    refuse("COLLECTION", f"must be an id or one of the names ({names}), not {collection}.")
