"""Drop accuracy: networks are predicted by fits that have not seen them."""

import pytest

from compiler.drop_accuracy import LEAST, WAYS, held_out, transferred
from compiler.drop_model import DropModel, DropObservation
from targets.errors import UsageError
from tests.compiler.stitch_cases import observed, stitch

LINE = [observed(0.5 * u / 20, stitch(u / 20, (7 * u % 20) / 20)) for u in range(1, 21)]
"""Twenty networks whose drop is half of what their stitch leaves unexplained."""


def test_ways_are_fitted_to_some_networks_and_tried_on_others() -> None:
    found = {one.name: one for one in transferred(LINE[:12], LINE[12:])}

    assert list(found) == list(WAYS) == ["model", "constant", "residual", "similarity"]
    assert {one.networks for one in found.values()} == {8}
    assert found["residual"].error == pytest.approx(0.0, abs=1e-9)
    assert found["residual"].correlation == pytest.approx(1.0)
    assert found["constant"].correlation is None
    assert found["constant"].error == pytest.approx(0.5 * (16.5 - 6.5) / 20)
    assert found["model"].error < found["constant"].error


def test_two_stitches_count_twice() -> None:
    ones = [observed(0.1, stitch(0.5, 0.5))] * 3

    found = transferred(ones, [observed(0.2, stitch(0.5, 0.5), stitch(0.5, 0.5))])

    assert [one.error for one in found if one.name != "model"] == [pytest.approx(0.0)] * 3


def test_where_all_boundaries_are_alike_similarity_predicts_nothing() -> None:
    alike = [observed(0.1, stitch(0.5, 0.0))] * 3

    (found,) = [one for one in transferred(alike, alike) if one.name == "similarity"]

    assert (found.error, found.correlation) == (pytest.approx(0.1), None)


def test_each_half_is_predicted_by_the_other() -> None:
    found = held_out(LINE)

    best = {one.name: one for one in found.accuracies}
    assert len(found.predicted) == len(LINE)
    assert {one.networks for one in found.accuracies} == {20}
    assert best["residual"].correlation == pytest.approx(1.0)
    assert best["model"].correlation is not None and best["model"].correlation > 0.9
    errors = [abs(p - one.drop) for p, one in zip(found.predicted, LINE, strict=True)]
    assert best["model"].error == pytest.approx(sum(errors) / 20)
    assert found == held_out(LINE)


def test_a_network_takes_no_part_in_its_own_prediction() -> None:
    changed: list[DropObservation] = [observed(0.9, *LINE[0].stitches), *LINE[1:]]

    before, after = held_out(LINE), held_out(changed)

    assert after.predicted[0] == before.predicted[0]
    assert after.predicted != before.predicted


def test_a_few_networks_are_too_few_for_halves() -> None:
    with pytest.raises(
        UsageError, match=f"5 judged networks are too few .* Judge at least {LEAST}"
    ):
        held_out(LINE[:5])


def test_the_model_that_is_tried_is_the_one_that_builds_use() -> None:
    predict = WAYS["model"](LINE)

    assert predict(LINE[3]) == DropModel.fit(LINE).expected(LINE[3])
