"""Cards of models as a worker reports them, and generations of these."""

from typing import Any

import httpx
import pytest

from tests.stack import Stack

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vae-2": {"name": "mlp-vae", "image_size": 28, "channels": 1, "latent_dim": 2},
    "vae-faces": {"name": "conv-vae", "image_size": 64, "channels": 3, "latent_dim": 32},
    "gan-8": {"name": "mlp-gan", "image_size": 16, "channels": 1, "latent_dim": 8},
    "dcgan-faces": {"name": "dcgan", "image_size": 64, "channels": 3, "latent_dim": 64},
    "ddpm-small": {"name": "ddpm", "image_size": 16, "channels": 1},
    "sd-faces": {"name": "stable-diffusion", "image_size": 64},
    "turbo": {"name": "diffusers", "image_size": 512, "num_inference_steps": 1, "guided": False, "schedulers": []},
    "cyclegan-hats": {"name": "cyclegan", "image_size": 64, "channels": 3, "kinds": ["no hat", "hat"]},
    "classifier-faces": {"name": "classifier", "channels": 3, "questions": [["no hat", "hat"], ["no red", "red"]]},
    "classifier-other": {"name": "classifier", "channels": 3, "questions": [["no cat", "cat"]]},
    "gan-mixed": {"name": "mlp-gan", "image_size": 28, "channels": 1, "latent_dim": 4},
    "dcgan-mixed": {"name": "dcgan", "image_size": 64, "channels": 3, "latent_dim": 4},
    "classifier-mixed": {"name": "classifier", "channels": 3, "questions": [["no hat", "hat"]]},
    "classifier-small-mixed": {"name": "classifier", "channels": 3, "questions": [["no hat", "hat"]]},
    "vgg16": {},
    "ink": {"name": "lora", "base": "sd-faces"},
    "chalk": {"name": "lora", "base": "sd-faces"},
    "sketch": {"name": "lora", "base": "sdxl"},
    "edges": {"name": "controlnet", "base": "sd-faces"},
    "edges-xl": {"name": "controlnet", "base": "sdxl"},
    "adapter": {"name": "image-prompt", "base": "sd-faces"},
    "cat": {"name": "textual-inversion", "base": "sd-faces", "token": "<cat>"},
}

HATTED: dict[str, Any] = {"mode": "text-to-image", "prompt": "a man with a hat"}

HAT = {"sign": "+", "with": ["hat"]}


def card(model_id: str) -> dict[str, Any]:
    sorts = {"classifier": "classification", **{name: name for name in ("lora", "textual-inversion", "controlnet")}}
    sorts |= {"image-prompt": "ip-adapter"}
    return {
        "id": model_id,
        "task": sorts.get(ARCHITECTURES[model_id].get("name", ""), "generation"),
        "title": model_id,
        "description": "",
        "license": "MIT",
        "source": {"kind": "trained", "data": model_id.rpartition("-")[2]},
        "files": {"model.safetensors": "0" * 64},
        "fetch_command": None,
        "architecture": ARCHITECTURES[model_id],
        "training": {"image_size": 32} if "small" in model_id else {},
    }


@pytest.fixture(scope="module")
def stack(api_alone: Stack) -> Stack:
    """Valkey and the API."""
    api_alone.redis.flushall()
    return api_alone


@pytest.fixture
def known(stack: Stack) -> Stack:
    """Reports the facts of a worker."""
    facts = {"queues": ["fast", "gpu"], "cards": [card(name) for name in ARCHITECTURES], "installed": []}
    stack.jobs.heartbeats.beat("away@test", facts)
    return stack


def post(stack: Stack, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return stack.client.post("/v1/generations", json=body, headers=headers)


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    return dict(answer.json()["params"])
