"""Commands that make images: `style`, `generate`, `upscale`."""

from typing import Annotated, Any

import typer

from atelier_client.cli.files import images_of
from atelier_client.cli.options import Fields, Files, Json, NoWait, Output, Seed, Show, examples, request
from atelier_client.cli.service import connected
from atelier_client.cli.work import Work

app = typer.Typer()


@app.command(
    epilog=examples(
        "atelier style examples/photos/chelsea.jpg --style builtin:19 -o cat.jpg",
        "atelier style 'examples/photos/*.jpg' --style docs/images/style.jpg -o painted",
    )
)
def style(
    context: typer.Context,
    photos: Files = None,
    *,
    style: Annotated[list[str], typer.Option(help="A painting, builtin:N or the id of a style; several are blended.")],
    method: Annotated[str | None, typer.Option(help="fast, gatys or diffusion; fast when absent.")] = None,
    size: Annotated[int | None, typer.Option(help="Longer side in pixels; 512 when absent.")] = None,
    seed: Seed = None,
    settings: Fields = None,
    output: Output = None,
    as_json: Json = False,
    show: Show = False,
    no_wait: NoWait = False,
) -> None:
    """Paints photos in a style."""
    styles: Any = style[0] if len(style) == 1 else [{"image": each} for each in style]
    params = request(settings, style=styles, method=method, size=size, seed=seed)
    sources = images_of(photos or [])
    work = Work(output, as_json, show, no_wait)
    with connected(context) as atelier:
        if sources:
            work.each(atelier, "/v1/style-transfers", sources, lambda photo: {"content": photo, **params})
        else:
            work.one(atelier, "/v1/style-transfers", params)


@app.command(
    epilog=examples(
        "atelier generate 'a smiling woman with a red hat' -o woman.png",
        "atelier generate --image woman.png -n 2 -o alike.png",
        "atelier generate --model dcgan-avatars -n 4 --seed 7 -o faces.png",
    )
)
def generate(
    context: typer.Context,
    prompt: Annotated[str | None, typer.Argument(help="What to show, for a text-to-image model.")] = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(help="The model; needed for samples. `atelier models` lists them.", show_default=False),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="How many images.")] = None,
    image: Annotated[str | None, typer.Option(help="An image to change by the prompt; without one, to vary.")] = None,
    mask: Annotated[str | None, typer.Option(help="White where the image is generated anew.")] = None,
    seed: Seed = None,
    settings: Fields = None,
    output: Output = None,
    as_json: Json = False,
    show: Show = False,
    no_wait: NoWait = False,
) -> None:
    """Generates images of a prompt, changes or varies an image, or samples a model."""
    mode = "inpaint" if mask else None  # the service tells the others apart
    count = {"num_images_per_prompt" if prompt else "n": n}
    params = request(settings, mode=mode, model=model, prompt=prompt, image=image, mask=mask, seed=seed, **count)
    with connected(context) as atelier:
        Work(output, as_json, show, no_wait).one(atelier, "/v1/generations", params)


@app.command(
    epilog=examples(
        "atelier generate --model dcgan-avatars -n 1 --set upscale=1 -o face.png",
        "atelier upscale face.png -o large.png",
    )
)
def upscale(
    context: typer.Context,
    images: Files,
    *,
    model: Annotated[str | None, typer.Option(help="A model of the task upscaling.")] = None,
    scale: Annotated[int | None, typer.Option(help="How many times as large, 2 to 4; 4 when absent.")] = None,
    settings: Fields = None,
    output: Output = None,
    as_json: Json = False,
    show: Show = False,
    no_wait: NoWait = False,
) -> None:
    """Makes images larger."""
    params = request(settings, mode="upscale", model=model, scale=scale)
    with connected(context) as atelier:
        work, sources = Work(output, as_json, show, no_wait), images_of(images or [])
        work.each(atelier, "/v1/generations", sources, lambda image: {**params, "images": [image]})
