"""Held to what can be worked out on paper."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from models.errors import AttributesNotFoundError, TermsCancelError
from models.generative.classifier import Classifier
from models.generative.gan import mlp_generator
from models.generative.latents import (
    BATCH,
    FRUITLESS,
    MAX_SAMPLES,
    Wanted,
    combined,
    manifold,
    manifold_values,
    matching,
    mean_codes,
    meets,
    on_sphere,
    path,
    prior,
    slerp,
    straight,
    traversal,
    weighted_sum,
)


def test_a_seed_is_the_same_vector_alone_and_among_others() -> None:
    assert torch.equal(prior([1, 2, 3], 5)[1], prior([2], 5)[0])
    drawn = prior(range(4000), 2)
    # Three standard errors of 4000 draws: 3 / sqrt(4000) = 0.047.
    assert torch.allclose(drawn.mean(0), torch.zeros(2), atol=0.05)
    assert torch.allclose(drawn.std(0), torch.ones(2), atol=0.05)


def test_straight_lines_in_equal_parts() -> None:
    points = torch.tensor([[0.0, -1], [4, 1], [4, 5]])
    wanted = [[[0, -1], [2, 0], [4, 1]], [[4, 1], [4, 3], [4, 5]]]
    assert straight(points, 3).tolist() == wanted


def test_slerp_goes_along_the_circle_in_equal_angles() -> None:
    found = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.linspace(0, 1, 4))
    angles = [0, 30, 60, 90]
    wanted = [[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles]
    assert torch.allclose(found, torch.tensor(wanted), atol=1e-6)


def test_slerp_has_the_given_ends_whatever_their_lengths() -> None:
    a, b = torch.tensor([3.0, 0.0, 1.0]), torch.tensor([0.0, -0.5, 0.2])
    found = slerp(a, b, torch.tensor([0.0, 1.0]))
    assert torch.allclose(found, torch.stack([a, b]), atol=1e-6)


@pytest.mark.parametrize("b", [[2.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
def test_slerp_of_vectors_on_one_line_is_straight(b: list[float]) -> None:
    a = torch.tensor([1.0, 0.0])
    middle = slerp(a, torch.tensor(b), torch.tensor([0.5]))[0]
    assert torch.allclose(middle, (a + torch.tensor(b)) / 2, atol=1e-6)


def test_slerp_keeps_the_norm_of_noise() -> None:
    a, b = prior([1, 2], 4096)
    norms = slerp(a, b, torch.linspace(0, 1, 9)).norm(dim=1)
    assert norms.min() > 0.97 * a.norm() and norms.max() < 1.03 * a.norm()


def test_path_visits_every_point() -> None:
    points = prior([1, 2, 3], 6)
    found = path(points, 5)
    assert found.shape == (2, 5, 6)
    assert torch.allclose(found[:, 0], points[:2], atol=1e-5)
    assert torch.allclose(found[:, -1], points[1:], atol=1e-5)


def test_traversal_changes_one_dimension_a_row() -> None:
    found = traversal(torch.tensor([1.0, 2.0, 3.0]), [2, 0], torch.tensor([-1.0, 0.0, 1.0]))
    assert found.tolist() == [
        [[1, 2, -1], [1, 2, 0], [1, 2, 1]],
        [[-1, 2, 3], [0, 2, 3], [1, 2, 3]],
    ]


def test_manifold_values_have_equal_shares_of_the_normal_law_between_them() -> None:
    values = manifold_values(7, 2.5).double()
    shares = torch.special.ndtr(values).diff()
    assert torch.allclose(values[[0, 3, 6]], torch.tensor([-2.5, 0, 2.5], dtype=torch.float64), atol=1e-5)
    assert torch.allclose(shares, shares[0].expand(6), atol=1e-6)


def test_manifold_is_a_plane_with_z1_upwards() -> None:
    found = manifold(torch.tensor([-1.0, 0.0, 1.0]))
    assert found[0, 0].tolist() == [-1, 1]
    assert found[2, 2].tolist() == [1, -1]
    assert found[1].tolist() == [[-1, 0], [0, 0], [1, 0]]


def test_combined_adds_and_takes_away() -> None:
    vectors = torch.tensor([[[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]])
    assert combined([1, -1, 0.5], vectors).tolist() == [[41, 82]]


class Known(Classifier):
    """Its answers stand in the first two pixels."""

    def __init__(self) -> None:
        super().__init__(1, [["no hat", "hat"], ["red", "green", "blue"]], base_channels=1)

    def answers(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2].round().long()


def test_meets_all_that_is_wanted_and_nothing_that_is_not() -> None:
    images = torch.tensor([[0, 0], [1, 0], [1, 2]]).reshape(3, 1, 1, 2)  # red; hat, red; hat, blue
    wanted = [(["hat"], []), (["hat"], ["red"]), ([], ["blue"]), (["red", "blue"], [])]
    assert meets(Known(), images, wanted).T.int().tolist() == [[0, 1, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_matching_finds_the_first_samples_that_meet_a_term() -> None:
    drawn: list[Tensor] = []

    def judge(z: Tensor) -> Tensor:
        drawn.append(z)
        return torch.stack([z[:, 0] > 0, z[:, 1] > 2], dim=1)

    found = matching(judge, 2, 3, n=20, seed=4)
    every = torch.cat(drawn)
    assert torch.allclose(found[0], every[every[:, 0] > 0][:20])
    assert torch.allclose(found[1], every[every[:, 1] > 2][:20])
    assert len(drawn) > 1 and all(len(z) == BATCH for z in drawn)
    assert torch.equal(found, matching(judge, 2, 3, n=20, seed=4))
    assert not torch.equal(found, matching(judge, 2, 3, n=20, seed=5))


@pytest.mark.parametrize(("above", "found", "judged"), [(3.5, 5, MAX_SAMPLES), (100, 0, FRUITLESS)])
def test_a_search_that_finds_too_few_ends_and_says_where(above: float, found: int, judged: int) -> None:
    def judge(z: Tensor) -> Tensor:
        seen.append(len(z))
        return torch.stack([z[:, 0] > 0, z[:, 0] > above], dim=1)

    seen: list[int] = []
    with pytest.raises(AttributesNotFoundError, match=f"{found} of {judged:,} generated") as error:
        matching(judge, 2, 1, n=30, seed=0)
    assert (error.value.place, error.value.found, sum(seen)) == (1, found, judged)


def test_attribute_arithmetic_of_a_model() -> None:
    torch.manual_seed(0)
    model = mlp_generator(4, 1, 3, hidden=8).eval()

    @torch.inference_mode()
    def has(z: Tensor, wanted: Sequence[Wanted]) -> Tensor:
        return meets(Known().eval(), model.decode(z), wanted)

    def means(seed: int) -> Tensor:
        return mean_codes([(["hat"], []), ([], ["hat"])], has, dim=3, averaged=4, seed=seed)

    of_terms = means(1)
    total = weighted_sum((1, -1), of_terms, scaled=True)
    assert of_terms.shape == (2, 3) and total.shape == (3,)
    assert torch.allclose(total / total.norm(), (of_terms[0] - of_terms[1]) / (of_terms[0] - of_terms[1]).norm())
    assert torch.allclose(total.norm(), torch.tensor(3**0.5))
    assert torch.equal(of_terms, means(1)) and not torch.equal(of_terms, means(2))


def test_a_sum_of_codes_alone_keeps_the_length() -> None:
    total = weighted_sum((1, -0.5), torch.tensor([[3.0, 0.0], [0.0, 4.0]]), scaled=False)
    assert total.tolist() == [3, -2]


def test_terms_that_cancel_have_no_sum() -> None:
    with pytest.raises(TermsCancelError):
        weighted_sum((2, -1), torch.tensor([[1.0, 2.0], [2.0, 4.0]]), scaled=True)


def test_many_samples_are_looked_for_longer() -> None:
    n = MAX_SAMPLES // 8  # of which one in twelve is found
    found = matching(lambda z: z[:, :1] > 1.38, 1, 1, n=n, seed=0)
    assert found.shape == (1, n, 1) and found.min() > 1.38


def test_on_sphere_keeps_the_direction() -> None:
    z = on_sphere(torch.tensor([[3.0, 4.0, 0.0, 0.0]]))
    assert torch.allclose(z, torch.tensor([[1.2, 1.6, 0.0, 0.0]]))
