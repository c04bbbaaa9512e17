"""The kinds pc-steering and cluster-sampling by the real runners, on a real Valkey, with shipped weights."""

from collections.abc import Sequence

import numpy as np
import pytest
from torch import Tensor

from jobs.images import read_recipe
from jobs.store.records import Record
from models.build import load_model
from models.catalogue import cards
from models.data.avatars import ATTRIBUTES
from models.data.smileys import smiley
from models.diffusion.embedding import Kandinsky
from models.generative.classifier import Classifier
from models.metrics import answers
from models.space.space import OnStep, PixelSpace
from tests.worker.runners.collecting import (
    DIGITS,
    Installation,
    add,
    collection_of,
    found,
    sample,
    shown,
    steer,
    uploaded,
)
from worker.lease import CanceledError
from worker.runners import network
from worker.runners.network import BATCH
from worker.runners.space import LoadedSpace


def test_a_component_is_a_row_and_a_strength_a_column(installation: Installation, smileys: Record) -> None:
    components = [{"component": 0, "strengths": [-2, 0, 2]}, {"component": 1, "strengths": [-2, 0, 2]}]
    record = steer(installation, smileys, components=components)
    images = shown(installation, record)
    assert len(images) == 6 and len(shown(installation, record, "grid")) == 1
    assert (images[1] == images[4]).all(), "strength 0 is the start, for every component"
    assert np.abs(images[0].astype(int) - images[2]).mean() > 2
    figures = record.metrics["pictures"]
    assert [each["strength"] for each in figures] == [-2, 0, 2, -2, 0, 2]
    assert all(each["distance"] >= 0 and 0 <= each["density"] <= 1 and each["cluster"] in range(3) for each in figures)
    assert (
        smileys.metrics["collection"] in (read_recipe(installation[1].get(record.outputs[0]["sha256"])) or {})["models"]
    )


def test_components_with_different_strengths_have_separate_grids(installation: Installation, smileys: Record) -> None:
    components = [{"component": 0, "strengths": [-1, 1]}, {"component": 2, "strengths": [-2, 0, 2]}]
    record = steer(installation, smileys, components=components)
    assert len(shown(installation, record)) == 5 and len(shown(installation, record, "grid")) == 2


def test_combined_components_move_together(installation: Installation, smileys: Record) -> None:
    one, two = ({"component": k, "strengths": [1.5]} for k in (0, 1))
    [combined] = shown(installation, steer(installation, smileys, components=[one, two], combine=True))
    apart = shown(installation, steer(installation, smileys, components=[one, two]))
    assert len(apart) == 2 and not any((combined == image).all() for image in apart)


def test_an_image_moves_along_a_named_direction(installation: Installation, smileys: Record) -> None:
    start = uploaded(installation, smiley(9, 3)[0])
    for fitting in ("difference", "linear"):
        direction = {"attribute": "winking", "fitting": fitting, "strengths": [0, 2]}
        same, moved = shown(installation, steer(installation, smileys, start=start, components=[direction]))
        assert np.abs(same.astype(int) - smiley(9, 3)[0]).mean() < 25, (
            "strength 0 is the VAE's reconstruction of the image"
        )
        assert np.abs(same.astype(int) - moved).mean() > 0.5


def test_all_components_of_a_style_are_the_style(installation: Installation, smileys: Record) -> None:
    start, style = (uploaded(installation, smiley(9, index)[0]) for index in (3, 4))
    strengths = {"style_components": 14, "style_strengths": [0, 1]}
    at_start, at_style = shown(installation, steer(installation, smileys, start=start, style_from=style, **strengths))
    [only_style] = shown(
        installation, steer(installation, smileys, start=style, components=[{"component": 0, "strengths": [0]}])
    )
    to_style = np.abs(at_style.astype(int) - only_style).mean()
    assert to_style < np.abs(at_start.astype(int) - only_style).mean() / 2


def test_samples_of_one_cluster_are_those_of_all_clusters(installation: Installation, smileys: Record) -> None:
    for method in ("kmeans", "mixture", "agglomerative"):
        everything = sample(installation, smileys, clustering=method, n=3)
        alone = sample(installation, smileys, clustering=method, cluster=1, n=3)
        of_one = [k for k, each in enumerate(everything.metrics["pictures"]) if each["from_cluster"] == 1]
        for image, place in zip(shown(installation, alone), of_one, strict=True):
            difference = image.astype(int) - shown(installation, everything)[place]
            assert np.abs(difference).max() <= 3
        assert len(shown(installation, everything, "grid")) == 1


def test_the_cluster_of_a_sample_follows_the_rule_of_its_clustering(
    installation: Installation, smileys: Record
) -> None:
    for method in ("mixture", "hdbscan"):
        sampled = sample(installation, smileys, clustering=method, n=2)
        assert sampled.metrics["clustering"] == method
    start = {"cluster": 1, "clustering": "mixture"}
    steered = steer(installation, smileys, start=start, components=[{"component": 0, "strengths": [0]}])
    assert steered.metrics["clustering"] == "mixture"
    assert [each["cluster"] for each in steered.metrics["pictures"]] == [1]


def test_samples_of_a_mixture_in_pixels_are_of_their_component(installation: Installation) -> None:
    """By the nearest center many would belong to another component: the Gaussians have different widths."""
    mixture = {"method": "mixture", "n_components": 3}
    record = found(installation, DIGITS | {"limit": 150, "clusterings": [mixture]})
    figures = sample(installation, record, n=64, temperature=1).metrics["pictures"]
    assert np.mean([each["cluster"] == each["from_cluster"] for each in figures]) > 0.97


def test_most_samples_are_assigned_to_their_cluster(installation: Installation, smileys: Record) -> None:
    record = sample(installation, smileys, n=16, temperature=0.7, neighbors=2)
    figures = record.metrics["pictures"]
    again = np.mean([each["cluster"] == each["from_cluster"] for each in figures])
    print(f"{again:.0%} of samples re-encode to their cluster")
    assert again > 0.7
    assert all(len(each["nearest"]) == 2 and each["nearest"][0].startswith("smileys/") for each in figures)


def test_a_cluster_of_one_image_is_not_sampled_from(installation: Installation) -> None:
    images = [uploaded(installation, smiley(9, index)[0]) for index in range(5)]
    few = {"name": "Few", "space": "pixels", "image_size": 16, "images": images, "seed": 1}
    record = found(installation, few | {"clusterings": [{"method": "kmeans", "n_clusters": 4}]})
    sizes = record.metrics["figures"]["clusterings"]["kmeans"]["sizes"]
    alone, pair = sizes.index(1), sizes.index(2)
    job = sample(installation, record, n=1, cluster=alone)
    assert job.status == "failed" and job.error is not None
    assert job.error["code"] == "too_few_members" and "1 members" in job.error["message"]
    job = sample(installation, record, n=2)
    assert [each["from_cluster"] for each in job.metrics["pictures"]] == [pair, pair], "the other clusters are sampled"
    assert [warning["code"] for warning in job.metrics["warnings"]] == ["too_few_members"]


def test_samples_of_many_clusters_have_several_sheets(installation: Installation) -> None:
    """One sheet would exceed the maximum height of a WebP file."""
    many = {"limit": 120, "clusterings": [{"method": "kmeans", "n_clusters": 50}]}
    record = found(installation, DIGITS | many)
    sampled = sample(installation, record, n=1, neighbors=3, format="webp")
    clusters = sum(size > 1 for size in record.metrics["figures"]["clusterings"]["kmeans"]["sizes"])
    sheets = shown(installation, sampled, "grid")
    assert clusters > 20 and len(sheets) == -(-clusters // 20) and len(shown(installation, sampled)) == clusters


def test_at_temperature_0_every_sample_is_the_center(installation: Installation, smileys: Record) -> None:
    images = shown(installation, sample(installation, smileys, cluster=0, n=3, temperature=0))
    assert all((image == images[0]).all() for image in images)


def test_a_collection_of_other_weights_is_not_decoded_or_extended(
    installation: Installation, smileys: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example, when a newer release ships a retrained model with the same id."""
    collection = collection_of(installation, smileys)
    monkeypatch.setattr(network, "revision", lambda card, folder: "0" * 16)
    steered = steer(installation, smileys, start="mean", components=[{"component": 0}])
    for job in (steered, sample(installation, smileys, n=1), add(installation, collection, data="smileys", limit=5)):
        assert job.status == "failed" and job.error is not None
        assert (job.error["code"], job.error["details"]) == ("model_changed", {"model": "vae-smileys"})
        assert "Build a new collection" in job.error["message"]
    assert collection_of(installation, smileys) == collection, "the collection is unchanged"


# --- a space of CLIP embeddings --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces(installation: Installation) -> Record:
    asked = {"name": "Faces", "space": "kandinsky-avatars", "data": "avatars", "limit": 60, "n_components": 4}
    asked |= {"clusterings": [{"method": "kmeans", "n_clusters": 2}], "seed": 3}
    with pytest.MonkeyPatch.context() as patch:
        # Of the images along its components, which no test reads.
        patch.setitem(Kandinsky.decode.__kwdefaults__ or {}, "num_inference_steps", 1)
        return found(installation, asked)


def test_the_image_of_a_text_shows_the_text(installation: Installation, faces: Record) -> None:
    components = [{"component": 0, "strengths": [0]}, {"component": 1, "strengths": [0.5]}]
    steered = steer(installation, faces, start={"text": "a woman with a blue hat"}, components=components)
    made = np.stack(shown(installation, steered))
    judge = load_model(cards()["classifier-avatars"])
    assert isinstance(judge, Classifier)
    says = dict(zip(ATTRIBUTES, answers(judge, made).T.tolist(), strict=True))
    assert made.shape == (2, 64, 64, 3)
    assert says["woman"] == says["hat"] == says["blue_hat"] == [1, 1] and says["red_hat"] == [0, 0]


def test_a_text_that_is_too_long_is_refused(installation: Installation, faces: Record) -> None:
    job = steer(installation, faces, start={"text": "a hat and " * 40}, components=[{"component": 0}])
    assert job.error is not None
    assert job.error["code"] == "text_too_long" and "the model reads 64" in job.error["message"]


def test_samples_of_a_cluster_of_faces_are_assigned_to_it(installation: Installation, faces: Record) -> None:
    sampled = sample(installation, faces, n=4)
    rows = sampled.metrics["pictures"]
    assert len(shown(installation, sampled)) == 8
    assert sum(row["cluster"] == row["from_cluster"] for row in rows) >= 7
    assert all(row["distance"] < 0.7 for row in rows), "encoded again, each image is near the intended scores"


class InThreeSteps(PixelSpace):
    def decode(self, vectors: Tensor, *, seeds: Sequence[int], on_step: OnStep = lambda: None) -> Tensor:
        for _ in range(3):
            on_step()
        return super().decode(vectors, seeds=seeds)


def test_each_step_of_a_decoder_is_reported_and_may_stop() -> None:
    done: list[int] = []
    vectors = np.full((BATCH + 2, 16), 0.5, np.float32)
    LoadedSpace(InThreeSteps(4, 1), None).decode(vectors, range(len(vectors)), done.append)
    assert done == [0, 0, 0, BATCH, BATCH, BATCH, BATCH, BATCH + 2]

    def cancel(done: int) -> None:
        raise CanceledError

    with pytest.raises(CanceledError):
        LoadedSpace(InThreeSteps(4, 1), None).decode(vectors, range(len(vectors)), cancel)


def test_an_unfamiliar_start_is_a_warning(installation: Installation, smileys: Record) -> None:
    noise = uploaded(installation, np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    record = steer(installation, smileys, start=noise, components=[{"component": 0, "strengths": [1]}])
    [warning, far] = record.metrics["warnings"]
    assert far["code"] == "far_from_members"
    assert (warning["code"], warning["message"].partition(":")[0]) == ("image_unlike_training", "start")
