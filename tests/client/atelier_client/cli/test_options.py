import pytest

from tests.client.atelier_client.cli.conftest import Command


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("size=256", 256),
        ("loss_curve=true", True),
        ("prompt=a cat = a dog", "a cat = a dog"),
        ('style_losses={"gram": 1}', {"gram": 1}),
        ("scale=NaN", "NaN"),
    ],
)
def test_setting_is_json_or_text(setting: str, value: object) -> None:
    from atelier_client.cli.options import request

    assert request([setting], seed=None, model="m") == {"model": "m", setting.partition("=")[0]: value}


def test_setting_without_a_value_is_refused(command: Command) -> None:
    ran = command("generate", "--model", "m", "--set", "size")
    assert ran.code == 2 and "must be FIELD=VALUE" in ran.err
