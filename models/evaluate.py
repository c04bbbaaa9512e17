"""Measures trained models: `python -m models.evaluate [id …] [--write]` prints a table and puts it on their cards.

The judge of a model is the classifier trained on the same set. Real against real is what the same figure gives between
two halves of real images, of which neither was seen by the judge: no generator can do better.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.build import load_model
from models.catalogue import WEIGHTS_DIR, Card, cards, folder_of
from models.data.dataset import Dataset
from models.data.named import named_dataset
from models.diffusion.embedding import Kandinsky
from models.diffusion.text_to_image import TextToImageModel, generate
from models.diffusion.unconditional import Ddpm, SchedulerName, generators_of, sample
from models.familiarity import training_facts
from models.generative.base import LatentModel
from models.generative.classifier import Classifier
from models.generative.cyclegan import CycleGan
from models.generative.dcgan import Dcgan
from models.generative.latents import Wanted, mean_codes, meets, weighted_sum
from models.generative.vae import Vae
from models.judge import Judge, data_of, judge_names, judge_of, like, present
from models.metrics import BATCH, Features, answers, certain, density_and_coverage, elbo, features, frechet_distance
from models.pixels import ImageArray
from models.space.collection import Members, fit_collection
from models.space.quality import mixture_images, sampling_precision, steering_precision
from models.space.space import space_of
from models.tensors import autocast, expect_class, to_pixels, to_tensor

Quality = dict[str, Any]
FACTS_OF = 2000  # images of the training data
SAMPLERS: tuple[tuple[SchedulerName, int], ...] = (("ddim", 50), ("dpm-solver++", 20), ("ddpm", 100))


def evaluate(card: Card, judge: Judge, weights_dir: Path = WEIGHTS_DIR) -> Quality:
    """Measures one model."""
    model = load_model(card, weights_dir)
    if isinstance(model, Classifier):
        return _classification(model, judge.held_out)
    if isinstance(model, CycleGan):
        return _translation(model, judge)
    if isinstance(model, Kandinsky):
        return _embedding(model, card, judge)
    if isinstance(model, TextToImageModel):
        return _prompting(model, judge)
    quality = _generation(model, judge)
    if isinstance(model, Ddpm) and model.attributes:
        quality["attributes_shown"] = _attributes_shown(model, judge)
    if isinstance(model, Vae):
        quality |= _reconstruction(model, judge, likelihood=card.source["recipe"] == "vae")
    if card.source["recipe"] == "vae_gan":
        quality["mixture"] = _mixture(model, card, judge)
    if isinstance(model, Dcgan):
        quality |= {"attributes_kept": _attributes_kept(model, judge), "arithmetic": _arithmetic(model, judge)}
    return quality


def _classification(model: Classifier, test: Dataset) -> Quality:
    truth = test.labels[:, None] if test.label_names else test.attributes.astype(np.int64)
    right = (answers(model, test.images) == truth).mean(0)
    quality: Quality = {"images": len(test), "accuracy": _short(right.mean())}
    if len(right) > 1:
        quality["worst"] = {model.questions[int(right.argmin())][-1]: _short(right.min())}
    return quality


def _generation(model: nn.Module, judge: Judge) -> Quality:
    """Frechet distance, density and coverage of samples and of real images; of a diffusion model by sampler."""
    real = _likeness(judge.real, judge.others)
    quality: Quality = {"images": len(judge.real), **{f"{name}_real": figure for name, figure in real.items()}}
    for name, draw in _samplers(model):
        started = time.perf_counter()
        fakes = draw(len(judge.real))
        seconds = time.perf_counter() - started
        quality[name] = {
            **_likeness(judge.real, features(judge.classifier, fakes)),
            "images_per_second": _short(len(fakes) / seconds),
        }
    return quality


def _likeness(real: Features, made: Features) -> dict[str, float]:
    density, coverage = density_and_coverage(real, made)
    return {
        "frechet": _short(frechet_distance(real, made)),
        "density": _short(density),
        "coverage": _short(coverage),
    }


def _samplers(model: nn.Module) -> list[tuple[str, Callable[[int], ImageArray]]]:
    if isinstance(model, Ddpm):
        return [(f"{scheduler}-{steps}", _denoiser(model, scheduler, steps)) for scheduler, steps in SAMPLERS]
    decoder = expect_class(model, LatentModel)

    def draw(n: int) -> ImageArray:
        z = torch.randn(n, decoder.latent_dim, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            return np.concatenate([to_pixels(decoder.decode(part)) for part in z.split(BATCH)])

    return [("sample", draw)]


def _denoiser(model: Ddpm, scheduler: SchedulerName, steps: int) -> Callable[[int], ImageArray]:
    return lambda n: _denoised(model, n, scheduler, steps)[0]


def _denoised(model: Ddpm, n: int, scheduler: SchedulerName, steps: int) -> tuple[ImageArray, NDArray[np.float32]]:
    """Samples images of the seeds 0 to n - 1, and the attributes (n, k) of -1 and 1 that they are conditioned on."""
    parts, conditions = [], []
    for start in range(0, n, 64):
        generators = generators_of(range(start, min(start + 64, n)))
        noise, attributes = model.draw(generators)
        with autocast(torch.device("cpu")):
            images = sample(
                model, noise, attributes, scheduler=scheduler, num_inference_steps=steps, generators=generators
            )
        parts.append(to_pixels(images))
        conditions.append(noise.new_zeros(len(noise), 0).numpy() if attributes is None else attributes.numpy())
    return np.concatenate(parts), np.concatenate(conditions)


def _attributes_shown(model: Ddpm, judge: Judge) -> float:
    """Share of the attributes that samples are conditioned on which the classifier detects in them."""
    images, conditions = _denoised(model, len(judge.real), "dpm-solver++", 20)
    places = [judge.held_out.attribute_names.index(name) for name in model.attributes]
    return _short((answers(judge.classifier, images)[:, places] == 1)[conditions > 0].mean())


def _mixture(model: nn.Module, card: Card, judge: Judge, members: int = 800) -> Quality:
    """Measures samples of a Gaussian mixture over the codes of some images of the training data."""
    space, images = space_of(model, card.architecture), data_of(card, members).images
    made = like(judge, mixture_images(space, images, len(judge.real), covariance_type="full"))
    figures = _likeness(judge.real, features(judge.classifier, made))
    return {"members": members, **figures, "certain": _short(certain(judge.classifier, made))}


def _reconstruction(model: Vae, judge: Judge, *, likelihood: bool) -> Quality:
    bound, divergence, error = elbo(model, judge.held_out.images)
    figures = {"reconstruction_mse": round(error, 5)}
    if likelihood and judge.held_out.images.shape[-1] == 1:  # a Bernoulli likelihood says nothing of colors
        figures |= {"elbo": _short(bound), "kl_divergence": _short(divergence)}
    return figures


def _attributes_kept(model: Dcgan, judge: Judge) -> float:
    with torch.inference_mode():
        reconstructions = [to_pixels(model.decode(model.encode(part))) for part in _batches(judge.held_out.images)]
    return _short((answers(judge.classifier, np.concatenate(reconstructions)) == judge.held_out.attributes).mean())


def _arithmetic(model: Dcgan, judge: Judge, draws: int = 50, averaged: int = 64) -> Quality:
    """Share of man with glasses - man + woman that are women with glasses (Radford et al. 2016, figure 7)."""
    terms: list[Wanted] = [(["glasses"], ["woman"]), ([], ["woman", "glasses"]), (["woman"], ["glasses"])]
    _, both = attribute_sums(model, judge.classifier, terms, (["woman", "glasses"], []), draws, averaged)
    return {"draws": draws, "averaged": averaged, "woman_with_glasses": _short(both.float().mean())}


@torch.inference_mode()
def attribute_sums(
    model: LatentModel,
    classifier: Classifier,
    terms: Sequence[Wanted],
    asked: Wanted,
    draws: int,
    averaged: int = 64,
) -> tuple[ImageArray, Tensor]:
    """Images (draws, h, w, channels) of the first term - the second + the third, and whether each has what is asked.

    Draw k takes the samples of seed k.
    """

    def has(z: Tensor, wanted: Sequence[Wanted]) -> Tensor:
        return meets(classifier, model.decode(z), wanted)

    means = [mean_codes(terms, has, dim=model.latent_dim, averaged=averaged, seed=seed) for seed in range(draws)]
    images = to_pixels(model.decode(torch.stack([weighted_sum((1, -1, 1), codes, scaled=True) for codes in means])))
    return images, meets(classifier, to_tensor(images), [asked])


def _translation(model: CycleGan, judge: Judge) -> Quality:
    """Share of held-out images whose attribute is translated, and share of the other attributes that stay the same."""
    attribute = model.kinds[1]
    names = judge.held_out.attribute_names
    place = names.index(attribute)
    # What cannot hold: only men have mustaches, so a mustache says what the image shows, not how well it was kept.
    others = [i for i, name in enumerate(names) if name not in (attribute, "mustache" if attribute == "woman" else "")]
    quality: Quality = {}
    for direction, wanted in (("a-to-b", True), ("b-to-a", False)):
        source = judge.held_out.where(judge.held_out.attribute(attribute) != wanted)
        with torch.inference_mode():
            parts = [to_pixels(model.translate(part, direction)) for part in _batches(source.images)]  # type: ignore[arg-type]
        before, after = answers(judge.classifier, source.images), answers(judge.classifier, np.concatenate(parts))
        held = (before == after)[:, others]
        quality[direction] = {
            "images": len(source),
            "translated": _short((after[:, place] == wanted).mean()),
            "held": _short(held.mean()),
            "worst_held": {names[others[int(held.mean(0).argmin())]]: _short(held.mean(0).min())},
        }
    return quality


@torch.inference_mode()
def _embedding(model: Kandinsky, card: Card, judge: Judge) -> Quality:
    """Measures retrieval, attributes after encoding and decoding, samples of texts and clusters, and steering."""
    data = card.source["data"]
    held_out = judge.held_out if judge.held_out.images.shape[-1] == 3 else named_dataset(data, "test", len(judge.real))
    names, space = judge_names(judge), space_of(model, card.architecture)
    with autocast(torch.device("cpu")):
        embeds = torch.cat([model.encode_images(part).float() for part in _batches(held_out.images)])
        kept = present(judge, _decoded(model, embeds)) == present(judge, held_out.images)
        wanted = np.array([[mentions(name, caption) for name in names] for caption in held_out.captions])
        shown = present(judge, _decoded(model, model.encode_texts(held_out.captions)))
        vectors = embeds.numpy()
        unseen = np.zeros((len(vectors), 1, 1, 3), np.uint8)
        members = Members(vectors, unseen, np.arange(len(vectors)).astype(str), np.zeros((len(vectors), 0), np.int8))
        wishes: list[dict[str, Any]] = [{"method": "kmeans", "max_clusters": 20}]
        collection = fit_collection(
            members, pca={"explained_variance": 0.99, "standardize": True}, clusterings=wishes, seed=0
        )
        n_clusters = collection.clusterings["kmeans"].n_clusters
        sampled = sampling_precision(space, collection, n=2 * len(vectors) // (3 * n_clusters))
        steered = steering_precision(space, collection, vectors[: len(vectors) // 15])
    return {
        "images": len(held_out),
        "retrieval": _retrieval(model, embeds, held_out.captions),
        "attributes_kept": _short(kept.mean()),
        "worst_kept": {names[int(kept.mean(0).argmin())]: _short(kept.mean(0).min())},
        "attributes_shown": _short(shown[wanted].mean()),
        "texts_shown_whole": _short((shown | ~wanted).all(1).mean()),
        "clusters": n_clusters,
        "samples_in_their_cluster": _short(sampled),
        "steering": {name: _short(figure) for name, figure in steered.items()},
        **({"mixture": _mixture(model, card, judge)} if data == "flowers" else {}),
    }


@torch.inference_mode()
def _prompting(model: TextToImageModel, judge: Judge) -> Quality:
    """Measures how often samples show what held-out captions mention, and their distance to the held-out images."""
    held_out, names, size = judge.held_out, judge.held_out.attribute_names, judge.held_out.images.shape[1]
    parts = []
    started = time.perf_counter()
    for start in range(0, len(held_out), 64):
        captions = held_out.captions[start : start + 64]
        with autocast(torch.device("cpu")):
            made = generate(model, captions, seeds=range(start, start + len(captions)), width=size, height=size)
        parts.append(to_pixels(made))
    seconds, images = time.perf_counter() - started, np.concatenate(parts)
    present = answers(judge.classifier, images) == 1
    wanted = np.array([[mentions(name, caption) for name in names] for caption in held_out.captions])
    # Each caption mentions one of the two; "man" means that the attribute is absent.
    woman = names.index("woman")
    right = present | ~wanted
    right[:, woman] = present[:, woman] == wanted[:, woman]
    named = wanted | (np.arange(len(names)) == woman)
    by_name = {name: right[named[:, i], i].mean() for i, name in enumerate(names) if named[:, i].any()}
    worst = min(by_name, key=lambda name: by_name[name])
    return {
        "images": len(held_out),
        "attributes_shown": _short(right[named].mean()),
        "worst_shown": {worst: _short(by_name[worst])},
        "texts_shown_whole": _short(right.all(1).mean()),
        **{f"{name}_real": figure for name, figure in _likeness(judge.real, judge.others).items()},
        **_likeness(judge.real, features(judge.classifier, images)),
        "images_per_second": _short(len(images) / seconds),
    }


def mentions(attribute: str, caption: str) -> bool:
    """Returns whether a caption mentions an attribute such as `red_hat`, with at most one word between its two."""
    words = attribute.replace("_", r" (\w+ )?")
    return bool(re.search(rf"\b{words}\b", caption))


def _decoded(model: Kandinsky, embeds: torch.Tensor) -> ImageArray:
    parts, seeds = embeds.split(BATCH), range(len(embeds))
    return np.concatenate(
        [to_pixels(model.decode(part, seeds=seeds[BATCH * i : BATCH * i + len(part)])) for i, part in enumerate(parts)]
    )


def _retrieval(model: Kandinsky, embeds: torch.Tensor, captions: Sequence[str]) -> Quality:
    """Shares of texts whose nearest images include one of theirs, and of images whose nearest texts include theirs."""
    texts, kinds = np.unique(captions, return_inverse=True)
    text_embeds = torch.nn.functional.normalize(model.clip.encode_texts(model.clip.tokenize(texts.tolist())))
    near = torch.nn.functional.normalize(embeds) @ text_embeds.T  # (images, texts)
    figures: Quality = {"texts": len(texts)}
    for k in (1, 5):
        of_images = near.topk(k, dim=1).indices.numpy()
        of_texts = kinds[near.topk(k, dim=0).indices.numpy()]  # (k, texts)
        figures[f"image_to_text_{k}"] = _short((of_images == kinds[:, None]).any(1).mean())
        figures[f"text_to_image_{k}"] = _short((of_texts == np.arange(len(texts))).any(0).mean())
    return figures


def _batches(images: ImageArray) -> list[torch.Tensor]:
    return [to_tensor(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]


def _short(value: Any) -> float:
    return float(f"{float(value):.4g}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluate", description="Measure trained models.")
    trained = [card.id for card in cards().values() if card.source["kind"] == "trained"]
    parser.add_argument("ids", nargs="*", metavar="id", help=f"any of {', '.join(trained)}; all if absent")
    parser.add_argument("--images", type=int, default=1000, help="a side (default: %(default)s)")
    parser.add_argument("--facts", action="store_true", help="only those of the training data, see models.familiarity")
    parser.add_argument("--write", action="store_true", help="put the figures on the cards")
    args = parser.parse_args(argv)
    judges: dict[str, Judge] = {}
    for card in [cards()[model_id] for model_id in args.ids or trained]:
        quality = {} if args.facts else {"quality": evaluate(card, _judge(card.source["data"], args.images, judges))}
        facts = training_facts(load_model(card), data_of(card, FACTS_OF)) if args.facts or args.write else {}
        print(f"{card.id}: {json.dumps(quality.get('quality', facts))}", flush=True)
        if args.write:
            path = folder_of(card) / "card.json"
            written = json.loads(path.read_text(encoding="utf-8")) | quality
            if "typos" in written["training"]:
                facts.pop("words", None)  # those of its paraphrases are on the card, not those of the captions
            written["training"] |= facts
            path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return 0


def _judge(data: str, images: int, judges: dict[str, Judge]) -> Judge:
    """The judge of a data set, made at its first use."""
    if data not in judges:
        judges[data] = judge_of(data, images)
    return judges[data]


if __name__ == "__main__":
    raise SystemExit(main())
