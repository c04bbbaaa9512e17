"""Arithmetic of latent codes, with tiny models of the real architectures."""

from typing import Any
from unittest.mock import Mock

import pytest

from jobs.errors import AtelierError
from models.catalogue import Card
from tests.worker.runners.generations import TOLERANCE, A, apart, outputs, reconstructed, run
from worker.runners import arithmetic

PLUS = {"sign": "+", "with": ["bright"]}


def test_attribute_arithmetic(known: dict[str, Card]) -> None:
    minus = {"sign": "-", "without": ["bright"]}
    more = {"mode": "arithmetic", "terms": [PLUS, minus], "averaged": 4, "classifier": "judge"}
    made, _ = run(known, "gan", n=6, seed=8, **more)
    assert all(image.pixels.mean() > 180 for image in outputs(made))
    assert made.metrics["attributes"] == [["bright"]] * 6
    assert len({image.pixels.tobytes() for image in outputs(made)}) > 2, "each draw averages other samples"
    assert list(made.models) == ["gan", "judge"]
    second, _ = run(known, "gan", n=1, seed=9, **more)
    assert apart(outputs(second)[0], outputs(made)[1]) == 0
    assert outputs(made)[1].seed == 9


def test_attributes_whose_vectors_cancel_fail_the_job(known: dict[str, Card]) -> None:
    """Two terms with different attributes but the same samples, which the check of the request accepts."""
    twice = {"sign": "-", "with": ["bright"], "without": ["red"]}
    with pytest.raises(AtelierError, match=r"^terms: The vectors of the terms cancel") as error:
        run(known, "gan", mode="arithmetic", terms=[PLUS, twice], averaged=4, n=2, classifier="judge")
    assert error.value.code == "terms_cancel"


def test_terms_of_every_kind(known: dict[str, Card]) -> None:
    terms = [{"sign": "+", "seed": 3}, {"sign": "-", "z": [1, 0, 0]}, {"sign": "+", "z": [1, 0, 0]}]
    made, _ = run(known, "gan", mode="arithmetic", terms=terms)
    [alone] = outputs(run(known, "gan", seeds=[3])[0])
    assert apart(outputs(made)[0], alone) <= 1
    assert made.metrics == {}
    made, _ = run(known, "conv", mode="arithmetic", terms=[{"sign": "+", "image": A}])
    assert apart(outputs(made)[0], reconstructed(known, "conv", A)[0]) <= TOLERANCE


def test_weights_are_how_many_times_a_term_counts(known: dict[str, Card]) -> None:
    x, y = {"z": [1.0, 0, 0]}, {"z": [0, 0.5, 0]}
    weighted = [{"sign": "+", **x, "weight": 1.5}, {"sign": "-", **y, "weight": 3}]
    plain = [{"sign": "+", "z": [1.5, -1.5, 0]}]
    (one, two) = (outputs(run(known, "gan", mode="arithmetic", terms=terms)[0])[0] for terms in (weighted, plain))
    assert apart(one, two) == 0


def test_a_face_moves_in_the_direction_of_an_attribute(known: dict[str, Card]) -> None:
    def bright(*directions: dict[str, Any]) -> float:
        terms = [{"sign": "+", "seed": 3}, *directions]
        made, _ = run(known, "gan", mode="arithmetic", terms=terms, classifier="judge")
        [image] = outputs(made)
        return float(image.pixels.mean())

    towards = {"sign": "+", "attribute": "bright", "weight": 2}
    assert bright({**towards, "sign": "-"}) < bright() < bright(towards)


def test_what_was_found_for_attributes_is_kept(known: dict[str, Card], monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Mock(side_effect=arithmetic._has_attributes)
    monkeypatch.setattr(arithmetic, "_codes", {})
    monkeypatch.setattr(arithmetic, "_has_attributes", judged)
    more = {"mode": "arithmetic", "n": 2, "seed": 5, "averaged": 300, "classifier": "judge"}
    [once, _] = outputs(run(known, "gan", terms=[PLUS], **more)[0])
    searched = judged.call_count
    terms = [{**PLUS, "weight": 0.5}]  # scaled to the same length
    [again, _] = outputs(run(known, "gan", terms=terms, **more)[0])
    assert searched >= 4 and judged.call_count == searched, "300 samples are more than a batch"
    assert apart(once, again) == 0


def test_attributes_that_no_image_has_fail_the_job(known: dict[str, Card]) -> None:
    red = {"sign": "-", "with": ["red"]}
    with pytest.raises(AtelierError, match=r"^terms\.1: 0 of 2,048 generated images meet it; 4 are needed") as error:
        run(known, "gan", mode="arithmetic", terms=[PLUS, red], averaged=4, n=1, classifier="judge")
    assert (error.value.code, error.value.details) == ("attributes_not_found", {"field": "terms.1", "found": 0})
