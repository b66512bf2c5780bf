"""Drop model: between what was assumed and what was seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.drop_model import PRIOR_SLOPE, DropModel, DropObservation


def test_before_anything_is_seen_the_assumption_holds() -> None:
    assert DropModel.fit([]) == DropModel(PRIOR_SLOPE, 0) == DropModel()


@pytest.mark.parametrize(("r2", "drop"), [(1.0, 0.0), (0.6, 0.1), (0.0, 0.25), (-1.0, 0.5)])
def test_a_drop_grows_with_what_is_unexplained(r2: float, drop: float) -> None:
    assert DropModel().drop(r2) == pytest.approx(drop)


def test_rounding_above_one_costs_nothing() -> None:
    assert DropModel().drop(1.0 + 1e-12) == 0.0


def test_observations_are_weighed_against_the_prior() -> None:
    # (0.1 x 0.25 + 0.5 x 0.4 + 1 x 0.1) / (0.1 + 0.5^2 + 1^2)
    model = DropModel.fit([DropObservation(0.5, 0.4), DropObservation(1.0, 0.1)])

    assert model.slope == pytest.approx(0.325 / 1.35)
    assert model.observations == 2


def test_a_gain_never_makes_stitches_free_of_charge_and_more() -> None:
    assert DropModel.fit([DropObservation(1.0, -5.0)]).slope == 0.0


@given(
    slope=st.sampled_from([0.0, 0.1, 0.25, 0.7, 2.0]),
    unexplained=st.lists(st.floats(0.1, 2.0), min_size=1),
)
def test_a_fit_lies_between_the_prior_and_the_truth(slope: float, unexplained: list[float]) -> None:
    seen = [DropObservation(value, slope * value) for value in unexplained]

    fitted = DropModel.fit(seen).slope

    low, high = sorted((PRIOR_SLOPE, slope))
    assert low - 1e-9 <= fitted <= high + 1e-9
