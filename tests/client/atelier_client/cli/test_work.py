import json
import shutil
from pathlib import Path

from PIL import Image

from tests.client.atelier_client.cli.conftest import Command
from tests.stack import ROOT

CAT = "examples/photos/chelsea.jpg"


def test_json_goes_to_standard_output(stack_command: Command) -> None:
    ran = stack_command("style", CAT, "--style", "builtin:19", "--size", "64", "-o", "cat.webp", "--json")
    job = json.loads(ran.out)
    assert ran.code == 0 and job["status"] == "succeeded" and job["files"] == ["cat.webp"]
    assert Image.open("cat.webp").format == "WEBP"


def test_folder_in_and_folder_out(stack_command: Command) -> None:
    Path("photos").mkdir()
    for name in ("one.jpg", "two.jpg"):
        shutil.copy(ROOT / CAT, Path("photos") / name)
    Path("photos/broken.png").write_bytes(b"no image")
    ran = stack_command("style", "photos", "--style", "builtin:3", "--size", "64", "-o", "painted")
    assert ran.code == 2 and ran.err.startswith("photos/broken.png: ")
    assert ran.out.split() == ["painted/one.png", "painted/two.png"]
    assert Image.open("painted/two.png").size == (64, 43)


def test_wrong_option_for_all_images_ends_the_command(stack_command: Command) -> None:
    ran = stack_command("style", "examples/photos/*.jpg", "--style", "builtin:3", "--set", "size=1", "-o", "painted")
    assert ran.code == 2 and ran.err.count("\n") == 1 and "`size`" in ran.err


def test_painting_that_is_missing(stack_command: Command) -> None:
    ran = stack_command("style", CAT, "--style", "none.jpg")
    assert ran.code == 2 and ran.err == "`style`: there is no file none.jpg\n"


def test_texture_has_no_photo(stack_command: Command) -> None:
    settings = ("mode=texture", "num_steps=1", "size=64")
    options = [part for each in settings for part in ("--set", each)]
    ran = stack_command("style", "--style", "examples/photos/strokes.jpg", *options, "-o", "texture.png")
    assert ran.code == 0 and Image.open("texture.png").size == (64, 64)


def test_show_needs_a_terminal(stack_command: Command) -> None:
    ran = stack_command("generate", "--model", "dcgan-avatars", "-n", "1", "--show")
    assert ran.code == 0 and "needs a terminal" in ran.err and Path(ran.out.strip()).exists()
