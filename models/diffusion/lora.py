"""LoRAs of a text-to-image model: put on for a run and taken off again.

Hu et al. 2022, "LoRA: low-rank adaptation of large language models": W x + scale * B A x, eq. 3.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from models.diffusion.text_to_image import TextToImage


@contextmanager
def with_loras(model: TextToImage, loras: Sequence[tuple[Path, float]]) -> Iterator[None]:
    """The model with LoRAs, each a safetensors file and its scale, inside; its own weights are never changed.

    Raises ValueError, RuntimeError or OSError where a file holds none for this model.
    """
    for path, _ in loras:
        if path.suffix != ".safetensors":  # of which diffusers would read a pickle
            raise ValueError(f"{path.name} is no safetensors file")
    pipeline, names = model.pipeline, [f"lora_{i}" for i in range(len(loras))]  # ids may hold dots, and these may not
    try:
        for name, (path, _) in zip(names, loras, strict=True):
            try:
                pipeline.load_lora_weights(
                    path.parent, weight_name=path.name, adapter_name=name, use_safetensors=True, local_files_only=True
                )
            except (IndexError, KeyError) as error:
                raise ValueError(f"{path.name} holds no LoRA of this model") from error
        if names:
            pipeline.set_adapters(names, [scale for _, scale in loras])
            model.eval()
        yield
    finally:
        if names:
            pipeline.unload_lora_weights()
