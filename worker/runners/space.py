"""Collections and their spaces as runners use them: encode and decode in batches, with progress."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from jobs.errors import AtelierError, NotFound
from jobs.requests.architectures import capabilities
from jobs.requests.base import filled
from jobs.requests.collection import BuildRequest, built
from jobs.requests.content import CONTENT_SIZE, ContentRequest
from jobs.requests.plots import CollectionPlots
from jobs.requests.search import CollectionSearch
from jobs.requests.spaces import PHOTO, PIXELS, STYLE, named_space
from jobs.requests.steering import OfCollection, Steering
from jobs.settings import get_settings
from jobs.store.registry import Version
from models.catalogue import card, installed
from models.errors import ArchitectureError
from models.perceptual.efficientnet import EfficientNetLite
from models.sessions import device_of
from models.space.collection import FittedCollection
from models.space.photo import PhotoSpace
from models.space.space import EncodingSpace, PixelSpace, Space, decoding_space, space_of, text_space
from models.space.style import StyleSpace, default_photo
from models.stylize.fast import load_arbitrary
from models.tensors import to_tensor
from worker.failures import failures
from worker.run import Pixels, Task
from worker.runners.images import center_squares, fit, floats
from worker.runners.loaded import loaded_model, revision_of
from worker.runners.network import BATCH, Network, load_network, pixels
from worker.runners.versions import read_collection

Vectors = NDArray[np.float32]  # (n, dim)
OnDone = Callable[[int], None]


@dataclass(frozen=True)
class LoadedSpace:
    """A space, its torch model, if it has one, and the id and revision of its model. Images are of 0 to 255.

    network: of the space of a model; a named space loads what it needs itself.
    """

    space: EncodingSpace | None
    network: Network | None = None
    models: dict[str, str] = field(default_factory=dict)

    @property
    def decodes(self) -> bool:
        """Whether vectors become images."""
        return isinstance(self.space, Space)

    @property
    def encoding(self) -> EncodingSpace:
        """The space; raises ArchitectureError for vectors whose model is not here."""
        if self.space is None:
            raise ArchitectureError("the model of these vectors is not here")
        return self.space

    def squares(self, images: Sequence[Pixels] | Pixels) -> Pixels:
        """The center squares of images at the space's size, gray if it has one channel."""
        return center_squares(images, self.encoding.image_size, self.encoding.channels)

    def encode(self, squares: Pixels, on_done: OnDone = lambda n: None) -> Vectors:
        """Encodes images into the space; `on_done` gets the number of images done after each batch."""
        space, parts = self.encoding, []
        for start in range(0, len(squares), BATCH):
            images = to_tensor(squares[start : start + BATCH], self._device)[:, : space.channels]
            with self._inference():
                parts.append(space.encode(images).float().cpu().numpy())
            on_done(min(start + BATCH, len(squares)))
        return np.concatenate(parts)

    def decode(self, vectors: Vectors, seeds: Sequence[int], on_done: OnDone = lambda n: None) -> Pixels:
        """Decodes vectors to images; `on_done` gets the number of images done after each step and batch."""
        space, parts = decoding_space(self.space), []
        for start in range(0, len(vectors), BATCH):
            end = min(start + BATCH, len(vectors))
            batch = torch.from_numpy(vectors[start:end]).to(self._device)
            with self._inference():
                images = space.decode(batch, seeds=seeds[start:end], on_step=partial(on_done, start))
            parts.append(pixels(images))
            on_done(end)
        return np.concatenate(parts)

    def encode_text(self, text: str, field: str) -> Vectors:
        """Encodes a text, (1, dim), in a space that reads texts; raises AtelierError for a text that is too long."""
        with failures([field]), self._inference():
            vectors: Vectors = text_space(self.space).encode_texts([text]).float().cpu().numpy()
        return vectors

    @property
    def _device(self) -> torch.device:
        return self.network.device if self.network else torch.device("cpu")

    def _inference(self) -> Any:
        return self.network.inference() if self.network else torch.inference_mode()


def load_space(task: Task, params: BuildRequest) -> LoadedSpace:
    """The space that a collection's parameters name; raises WeightsError."""
    if params.space in NAMED:
        return NAMED[params.space](task, params)
    if params.vectors and not _is_at_hand(task, params.space):
        return LoadedSpace(None)
    network = load_network(task, params.space, nn.Module)
    task.notes["device"] = str(network.device)
    models = {network.card.id: network.revision}
    return LoadedSpace(space_of(network.module, network.card.architecture), network, models)


def _is_at_hand(task: Task, space: str) -> bool:
    """Whether the space of a user's embeddings is that of a model here; jobs that need one fail where it is missing."""
    try:
        card = task.find_model(space)
    except NotFound:
        return False
    there = installed(card, get_settings().weights_dir) or isinstance(task.params, Steering | CollectionSearch)
    return there and capabilities(card.architecture).encoder


def _pixels(task: Task, params: BuildRequest) -> LoadedSpace:
    return LoadedSpace(PixelSpace(filled(params.image_size), filled(params.channels)))


def _style(task: Task, params: BuildRequest) -> LoadedSpace:
    weights_dir, model = get_settings().weights_dir, "fast-arbitrary"
    networks = loaded_model(task, card(model), lambda: load_arbitrary(weights_dir))
    task.notes["device"] = device_of(networks.transform)
    content = floats(fit(default_photo(), CONTENT_SIZE))
    return LoadedSpace(StyleSpace(networks, content), models={model: revision_of(model)})


def _photo(task: Task, params: BuildRequest) -> LoadedSpace:
    network = load_network(task, filled(named_space(PHOTO).model), EfficientNetLite)
    task.notes["device"] = str(network.device)
    return LoadedSpace(PhotoSpace(network.module), network, {network.card.id: network.revision})


NAMED: dict[str, Callable[[Task, BuildRequest], LoadedSpace]] = {
    PIXELS: _pixels,
    STYLE: _style,
    PHOTO: _photo,
}


def open_collection(task: Task[OfCollection | CollectionPlots]) -> tuple[FittedCollection, LoadedSpace, dict[str, str]]:
    """The collection that a job names, its space, and the revisions of the models and of the collection."""
    collection = task.files.collection(task.params.collection)
    version = collection.versions[(task.params.version or 0) - 1]
    space = load_space(task, built(collection.params))
    check_models(version, space)
    return read_collection(task, version.file), space, {**space.models, collection.id: version.file[:16]}


def painting(task: Task, space: LoadedSpace, params: ContentRequest) -> LoadedSpace:
    """The space with the request's content at its size; another space than that of styles stays as it is."""
    if not isinstance(space.space, StyleSpace):
        return space
    photo = task.read_image(params.content) if params.content else default_photo()
    content = floats(fit(photo, params.size or CONTENT_SIZE))
    return replace(space, space=replace(space.space, content=content))


def check_models(version: Version, space: LoadedSpace) -> None:
    """Raises AtelierError if the weights of a model changed: the same vectors would be other images."""
    # Early versions do not name them, nor do those of a user's embeddings.
    made_with = space.models | version.figures.get("models", {})
    if changed := sorted(model for model, revision in space.models.items() if made_with[model] != revision):
        message = f"{changed[0]} has other weights than when the collection was built. Build a new collection."
        raise AtelierError("model_changed", message, model=changed[0])
