"""Encodes the image or the text of a search, with torch."""

from jobs.requests.base import filled
from jobs.requests.collection import built
from jobs.requests.search import CollectionSearch
from models.space.collection import Members
from worker.run import Task
from worker.runners.space import Vectors, check_models, load_space
from worker.runners.unfamiliar import warn_of_images, warn_of_isolated, warn_of_prompt


def encode_query(task: Task[CollectionSearch], members: Members) -> tuple[Vectors, dict[str, str]]:
    """The vector (1, dim) of the image or the text of a search among members, and the models that encoded it."""
    params = task.params
    record = task.files.collection(params.collection)
    space = load_space(task, built(record.params))
    check_models(record.versions[(params.version or 0) - 1], space)
    if params.text is not None:
        if space.network:
            warn_of_prompt(task, space.network, "text", params.text)
        return space.encode_text(params.text, "text"), space.models
    squares = space.squares([task.read_image(filled(params.image))])
    if space.network:
        warn_of_images(task, space.network, "image", squares)
    vectors = space.encode(squares)
    warn_of_isolated(task, space, "image", members, vectors)
    return vectors, space.models
