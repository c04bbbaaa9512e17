"""What the components of a space mean on a set: a table of their correlations, `python -m bench.meaning`.

A row for each attribute and image statistic: the component with the largest correlation, which may be negative, how
much of the attribute all components explain together (R squared of a linear model), and the correlations of the first
components. With `--plot` also writes the heat map.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.build import load_model
from models.catalogue import cards
from models.data.named import named_dataset
from models.space.heat_maps import plot_correlations
from models.space.meaning import MAX_COMPONENTS, Traits, component_meanings, correlations, significant, strongest
from models.space.meaning import traits_of as traits_of_members
from models.space.pca import fit_pca
from models.space.space import space_of
from models.tensors import to_tensor

BATCH = 64
SHOWN = 8  # components with a column


def main() -> None:
    """Print the table, then the name of each component."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--space", default="kandinsky-avatars")
    parser.add_argument("--set", default="avatars")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    dataset = named_dataset(args.set, limit=args.images)
    pca = fit_pca(vectors := encoded(args.space, dataset.images), seed=0)
    scores = pca.transform(vectors)
    traits = traits_of_members(dataset.attributes.astype(np.int8), dataset.attribute_names, dataset.images)
    print(f"{len(vectors):,} images of {args.set} in {args.space}, {scores.shape[1]} components at 99 %")
    table(scores, traits)
    for each in component_meanings(scores, traits):
        share = pca.explained_variance_ratio_[each["component"]]
        print(f"PC {each['component']} ({share:.1%}): {each['name'] or '-'}")
    if args.plot:
        r = correlations(scores[:, :MAX_COMPONENTS], traits.values)
        columns = strongest(r)
        named = significant(r, np.full(len(traits.names), len(scores)))
        names = [traits.names[column] for column in columns]
        rows = [f"PC {component}" for component in range(len(r))]
        Image.fromarray(plot_correlations(r[:, columns], rows, names, named[:, columns])).save(args.plot)


@torch.inference_mode()
def encoded(name: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images (n, h, w, 3) as vectors of the space of a model, (n, dim)."""
    space = space_of(load_model(cards()[name]), cards()[name].architecture)
    batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    return np.concatenate([space.encode(to_tensor(batch)).float().numpy() for batch in batches])


def table(scores: NDArray[np.float32], traits: Traits) -> None:
    """Prints a row for each attribute and statistic."""
    r = correlations(scores, traits.values)
    best = np.abs(np.nan_to_num(r)).argmax(0)
    print(f"{'':20}{'best':>12}{'all, R2':>9}" + "".join(f"{f'PC {k}':>7}" for k in range(SHOWN)))
    for column, name in enumerate(traits.names):
        component = int(best[column])
        row = f"{name:20}{f'PC {component} {r[component, column]:.2f}':>12}{np.nansum(r[:, column] ** 2):9.2f}"
        print(row + "".join(f"{value:7.2f}" for value in r[:SHOWN, column]))


if __name__ == "__main__":
    main()
