import json

from tests.client.atelier_client.cli.conftest import Command


def test_models(stack_command: Command) -> None:
    rows = [line.split("\t") for line in stack_command("models", "--task", "upscaling").out.splitlines()]
    assert ["realesr-animevideov3", "upscaling", "yes"] in [row[:3] for row in rows]
    card = json.loads(stack_command("models", "vae-smileys", "--json").out)
    assert card["id"] == "vae-smileys"
    assert stack_command("models", "none").code == 2


def test_styles(stack_command: Command) -> None:
    listed = [json.loads(line) for line in stack_command("styles", "--json").out.splitlines()]
    assert {"id": "builtin:19", "number": 19, "name": "starry-blue"} in listed
