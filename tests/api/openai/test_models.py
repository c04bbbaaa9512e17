"""Models and keys by OpenAI's own client."""

from collections.abc import Iterator

import openai
import pytest

from jobs.limits import Limits
from tests.stack import Stack


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Valkey and the API, with a key."""
    made = Stack(tmp_path_factory.mktemp("locked"))
    made.start_valkey()
    made.start_api("api.main:app")
    yield made
    made.stop()


def test_models(stack: Stack) -> None:
    client = openai.OpenAI(base_url=f"{stack.url}/openai/v1", api_key="none")
    listed = {model.id for model in client.models.list()}
    assert {"stable-diffusion-avatars", "kandinsky-avatars"} <= listed and listed.isdisjoint({"dcgan-avatars", "sdxl"})
    assert client.models.retrieve("stable-diffusion-avatars").owned_by == "atelier"
    with pytest.raises(openai.NotFoundError, match="There is no model 'dcgan-avatars'"):
        client.models.retrieve("dcgan-avatars")


def test_keys(locked: Stack) -> None:
    url = f"{locked.url}/openai/v1"
    limited = locked.jobs.keys.create("limited", scopes=["read"], limits=Limits(requests_per_minute=2))[1]
    with pytest.raises(openai.AuthenticationError) as refusal:
        openai.OpenAI(base_url=url, api_key="wrong").models.list()
    assert (refusal.value.code, refusal.value.type) == ("invalid_api_key", "invalid_request_error")
    client = openai.OpenAI(base_url=url, api_key=limited, max_retries=0)
    assert client.models.list().data == []
    with pytest.raises(openai.PermissionDeniedError, match="needs the scope `submit`"):
        client.images.generate(prompt="a face")
    with pytest.raises(openai.RateLimitError) as limit:
        client.models.list()
    assert limit.value.code == "rate_limit_exceeded"
