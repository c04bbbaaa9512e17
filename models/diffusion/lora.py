"""Applies LoRAs to a text-to-image model for one run and removes them again.

Hu et al. 2022, "LoRA: low-rank adaptation of large language models": W x + scale * B A x, eq. 3.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.diffusion.text_to_image import TextToImageModel
from models.errors import LoraError
from models.tensors import check_finite

PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
# How the names of the two matrices of a layer end.
PAIRS = [
    (".lora_A.weight", ".lora_B.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    ("_lora.down.weight", "_lora.up.weight"),
    (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
]
State = dict[str, Tensor]


@contextmanager
def with_loras(model: TextToImageModel, loras: Sequence[tuple[Path, float]]) -> Iterator[list[list[str]]]:
    """Applies LoRAs, each a safetensors file and its scale, inside the context; the model's own weights never change.

    Yields for each LoRA the names of its tensors that match no layer of the model. Raises LoraError if none matches,
    and for a file that is empty, unreadable or contains NaN or infinity.
    """
    pipeline, names = model.pipeline, [f"lora_{i}" for i in range(len(loras))]  # ids may contain dots
    try:
        unused = [_put_on(pipeline, place, path, names[place]) for place, (path, _) in enumerate(loras)]
        if names:
            pipeline.set_adapters(names, [scale for _, scale in loras])
            model.eval()
        yield unused
    finally:
        if names:
            pipeline.unload_lora_weights()


def _put_on(pipeline: Any, place: int, path: Path, adapter: str) -> list[str]:
    """Loads one LoRA; returns the names of its tensors that match no layer."""
    try:
        converted = _converted(pipeline, path)
        pipeline.load_lora_weights(
            path.parent, weight_name=path.name, adapter_name=adapter, use_safetensors=True, local_files_only=True
        )
    except (KeyError, IndexError) as error:
        raise LoraError(place, f"{path.name} holds no LoRA of this model: it lacks pairs of its layers") from error
    except (OSError, ValueError, ArithmeticError, RuntimeError, SafetensorError) as error:
        what = str(error).partition("\n")[0]
        raise LoraError(place, f"{path.name} holds no LoRA of this model: {what}") from error
    layers = _layers(pipeline, adapter)
    unused = [name for name, value in converted.items() if not _is_used(name, value, layers)]
    if len(unused) == len(converted):
        raise LoraError(place, f"{path.name} holds no LoRA of this model: none of its tensors changes a layer of it")
    return unused


def _converted(pipeline: Any, path: Path) -> State:
    """Returns the tensors of a file under the names of diffusers."""
    if path.suffix != ".safetensors":  # diffusers would unpickle other files
        raise ValueError(f"{path.name} is not a safetensors file")
    state = load_file(path)
    if not state:
        raise ValueError("it is empty")
    check_finite(state)
    is_xl = hasattr(pipeline, "unet") and hasattr(pipeline, "text_encoder_2")  # files may name its blocks differently
    converted = pipeline.lora_state_dict(dict(state), **({"unet_config": pipeline.unet.config} if is_xl else {}))
    state = dict(converted[0] if isinstance(converted, tuple) else converted)
    _check_pairs(state)
    return state


def _check_pairs(state: State) -> None:
    """Raises ValueError for a layer with one tensor of its pair: peft would draw the other at random."""
    names = {first: second for pair in PAIRS for first, second in (pair, pair[::-1])}
    for name in state:
        layer, side = next(((name[: -len(end)], end) for end in names if name.endswith(end)), ("", ""))
        if side and layer + names[side] not in state:
            raise ValueError(f"it lacks pairs of its layers: {name} has no {names[side][1:]}")


def _layers(pipeline: Any, adapter: str) -> dict[str, list[Tensor]]:
    """Returns the weights of each layer that an adapter changes, by name; layers with zero weights are omitted."""
    layers = {}
    for part in PARTS:
        module = getattr(pipeline, part, None)
        for name, layer in module.named_modules() if module is not None else ():
            pair = [getattr(layer, side, {}) for side in ("lora_A", "lora_B")]
            if all(adapter in side for side in pair):
                weights = [side[adapter].weight for side in pair]
                if all(weight.any() for weight in weights):
                    layers[f"{part}.{name}."] = weights
    return layers


def _is_used(name: str, value: Tensor, layers: dict[str, list[Tensor]]) -> bool:
    """Returns whether a layer has this tensor: by its name, or by its values if diffusers renames it while loading."""
    if any(name.startswith(layer) for layer in layers):
        return True
    weights = [weight for pair in layers.values() for weight in pair if weight.shape == value.shape]
    return any(bool((value.to(weight) == weight).all()) for weight in weights)
