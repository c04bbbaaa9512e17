"""Distills a text encoder for paraphrases: `python -m models.training.text_encoder --data avatars --start … --id …`.

The result is the model of the start, of text-to-image or of image embeddings, with a new tokenizer and text encoder: it
understands other words for what the start understands. `models.training.stable_diffusion` then trains both further, on
images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor, nn

from models.build import build
from models.clip import learn_merges, tokenized
from models.data.dataset import Dataset
from models.data.paraphrases import known_words, said
from models.diffusion.embedding import NOISE, Kandinsky
from models.diffusion.text_to_image import TextToImageModel, generate
from models.errors import DataError
from models.tensors import autocast, expect_class, on_device
from models.training.autoencoder import encoded
from models.training.denoising import noised
from models.training.recipe import Recipe, Trained, command
from models.training.run import Run, Schedule

# Networks that read texts, by the key of their architecture.
ENCODERS = {"text": ("text_encoder",), "clip": ("clip.model.text_model", "clip.model.text_projection")}
QUERIES_OF = 64  # images whose queries are collected
LAYERS, QUERIES = 3, 32  # of a step: layers, drawn anew, and queries of each

Error = Callable[[Sequence[str], Sequence[str], np.random.Generator], Tensor]  # of texts with captions of their facts
Sample = Callable[[], Tensor]


@dataclass(frozen=True)
class TextEncoderSettings:
    """Hyperparameters of a distilled text encoder."""

    text_layers: int = field(default=3, metadata={"help": "of the text encoder"})
    context_length: int = field(default=48, metadata={"help": "tokens of a text that are read"})
    n_merges: int = field(default=450, metadata={"help": "tokens learned from the paraphrases, beside the bytes"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of AdamW, falling to 0 along a cosine"})


def train_text_encoder(dataset: Dataset, settings: TextEncoderSettings, run: Run) -> Trained:
    """Trains a text encoder to encode a paraphrase as the start's encodes a caption of its facts.

    No image is generated, and all else of the start is kept. Raises DataError without a start.
    """
    if run.start is None or not isinstance(run.start[0], TextToImageModel | Kandinsky):
        raise DataError(
            "start: a text-to-image model or one of image embeddings is needed, whose text encoder is distilled"
        )
    teacher, known = on_device(run.start[0], run.device), run.start[1].architecture
    key = "clip" if isinstance(teacher, Kandinsky) else "text"
    pairs = said(dataset.attributes, dataset.attribute_names, np.random.default_rng(run.schedule.seed))
    text = known[key] | {
        "text_layers": settings.text_layers,
        "context_length": settings.context_length,
        "merges": learn_merges([each for pair in pairs for each in pair], settings.n_merges),
    }
    torch.manual_seed(run.schedule.seed)
    model = expect_class(build(known | {key: text}), type(teacher))
    rest = {name: value for name, value in teacher.state_dict().items() if not name.startswith(ENCODERS[key])}
    model.load_state_dict(rest, strict=False)
    student = nn.ModuleList([on_device(model, run.device).get_submodule(name) for name in ENCODERS[key]])
    shown = [text for text, _ in pairs[:16]]
    if isinstance(teacher, Kandinsky):
        error, images = _of_embeddings(teacher, expect_class(model, Kandinsky), shown)
    else:
        error, images = _of_attention(teacher, expect_class(model, TextToImageModel), dataset, shown)

    def sample() -> Tensor:
        with torch.inference_mode(), autocast(run.device):
            return images()

    optimizer = torch.optim.AdamW(student.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    rows = torch.arange(len(dataset))
    for step in run.steps(sample, model=student, optimizer=optimizer):
        run.set_learning_rate(optimizer, settings.learning_rate)
        [chosen] = run.batch(rows)
        rng = np.random.default_rng([run.schedule.seed, step])
        texts, captions = zip(*said(dataset.attributes[chosen.numpy()], dataset.attribute_names, rng), strict=True)
        with autocast(run.device):
            loss = error(texts, captions, rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        run.log(error=loss)
    return Trained(known | {key: text}, model.state_dict(), facts={"words": known_words(), "typos": True})


def _of_embeddings(teacher: Kandinsky, model: Kandinsky, texts: Sequence[str]) -> tuple[Error, Sample]:
    """Returns the error of the normalized text embeddings, as a multiple of their variance, and images of the texts."""

    def embedded(by: Kandinsky, texts: Sequence[str]) -> Tensor:
        return F.normalize(by.clip.encode_texts(by.clip.tokenize(texts).to(by.prior.weight.device)))

    def error(texts: Sequence[str], captions: Sequence[str], rng: np.random.Generator) -> Tensor:
        with torch.no_grad():
            wanted = embedded(teacher, captions)
        return F.mse_loss(embedded(model, texts), wanted) / wanted.var(0).mean()

    return error, lambda: model.decode(model.prior(embedded(model, texts)).float(), seeds=range(len(texts)))


def _of_attention(
    teacher: TextToImageModel, model: TextToImageModel, dataset: Dataset, texts: Sequence[str]
) -> tuple[Error, Sample]:
    """Returns the error of what the cross-attention layers of the UNet read, and images of the texts.

    The UNet is never run: only these layers are, on queries collected once.
    """
    pipeline, layers = teacher.pipeline, _cross_attentions(teacher.pipeline.unet)
    images = torch.from_numpy(dataset.images[:QUERIES_OF]).permute(0, 3, 1, 2).to(teacher.execution_device)
    latents = encoded(pipeline.vae, images)
    queries = _collected(pipeline, layers, latents.float(), dataset.captions[:QUERIES_OF])
    student, size = model.pipeline, images.shape[-1]

    def error(texts: Sequence[str], captions: Sequence[str], rng: np.random.Generator) -> Tensor:
        drawn = {name: _some(queries[name], QUERIES) for name in rng.choice([*layers], LAYERS, replace=False)}
        with torch.no_grad():
            wanted = _attended(layers, drawn, _states(pipeline.tokenizer, pipeline.text_encoder, captions))
        seen = _attended(layers, drawn, _states(student.tokenizer, student.text_encoder, texts))
        return torch.stack([F.mse_loss(seen[name], wanted[name]) / wanted[name].var() for name in drawn]).mean()

    return error, lambda: generate(model, texts, seeds=range(len(texts)), width=size, height=size)


def _cross_attentions(unet: nn.Module) -> dict[str, Any]:
    """Returns the layers of a UNet that attend to the text, by name."""
    return {name: layer for name, layer in unet.named_modules() if name.endswith("attn2")}


def _states(tokenizer: Any, text_encoder: nn.Module, texts: Sequence[str]) -> Tensor:
    """Encodes texts as hidden states (n, tokens, width)."""
    device = next(text_encoder.parameters()).device
    states: Tensor = text_encoder(tokenized(tokenizer, texts, tokenizer.model_max_length).to(device))[0]
    return states


def _some(rows: Tensor, n: int) -> Tensor:
    return rows[torch.randint(len(rows), (n,), device=rows.device)]


@torch.no_grad()
def _collected(pipeline: Any, layers: Mapping[str, Any], latents: Tensor, captions: Sequence[str]) -> dict[str, Tensor]:
    """Returns the hidden states (n, width) from which each layer makes its queries, for noisy latents of all levels."""
    inputs: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        return lambda layer, arguments: inputs.__setitem__(name, arguments[0].flatten(0, 1))

    hooks = [layer.register_forward_pre_hook(keeper(name)) for name, layer in layers.items()]
    torch.manual_seed(0)
    scheduler: Any = DDIMScheduler(**NOISE)
    noisy, timesteps, _ = noised(latents, scheduler)
    pipeline.unet(noisy, timesteps, _states(pipeline.tokenizer, pipeline.text_encoder, captions))
    for hook in hooks:
        hook.remove()
    return inputs


def _attended(layers: Mapping[str, Any], inputs: Mapping[str, Tensor], states: Tensor) -> dict[str, Tensor]:
    """Returns what each layer reads from hidden states (n, tokens, width): (n, heads, queries, values)."""
    read = {}
    for name, hidden in inputs.items():
        layer = layers[name]
        parts = layer.to_q(hidden)[None].expand(len(states), -1, -1), layer.to_k(states), layer.to_v(states)
        query, key, value = (rows.unflatten(-1, (layer.heads, -1)).transpose(-2, -3) for rows in parts)
        read[name] = F.scaled_dot_product_attention(query, key, value, scale=layer.scale).float()
    return read


RECIPE = Recipe(
    name="text_encoder",
    task="",
    title="Text encoder for paraphrases",
    settings=TextEncoderSettings,
    schedule=Schedule(num_steps=2000, batch_size=32, sample_every=2000),
    train=train_text_encoder,
    captions=True,
)

if __name__ == "__main__":
    raise SystemExit(command(RECIPE))
