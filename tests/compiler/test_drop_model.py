"""Drop model: monotone, additive, between what was assumed and what was seen."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.compatibility import StitchOption
from compiler.dissection import Dissection
from compiler.drop_model import (
    FREE,
    PRIOR,
    PRIOR_SLOPE,
    TERMS,
    DropModel,
    DropObservation,
    terms,
)
from compiler.stitch_features import StitchFeatures
from targets.errors import DataError, UsageError
from tests.compiler.stitch_cases import observed, stitch

share = st.floats(0.0, 1.0, allow_subnormal=False)
stitches = st.builds(
    StitchFeatures,
    unexplained=st.floats(0.0, 2.0, allow_subnormal=False),
    dissimilar=share,
    following=share,
    strided=st.booleans(),
)
networks = st.lists(
    st.builds(observed, st.floats(-0.5, 1.0, allow_subnormal=False), stitches, stitches),
    max_size=12,
)


def test_before_anything_is_seen_the_assumption_holds() -> None:
    assert DropModel.fit([]).weights == pytest.approx(PRIOR)
    assert DropModel() == DropModel(PRIOR, 0, None)


@pytest.mark.parametrize(
    ("unexplained", "drop"), [(0.0, 0.0), (0.4, 0.1), (1.0, 0.25), (1.5, 0.375), (2.0, 0.5)]
)
def test_the_assumed_drop_is_in_proportion_to_what_is_unexplained(
    unexplained: float, drop: float
) -> None:
    for other in (stitch(unexplained), stitch(unexplained, 0.9, 0.1, True)):
        assert DropModel().drop(other) == pytest.approx(drop)


@pytest.mark.parametrize(
    ("r2", "similarity", "unexplained", "dissimilar"),
    [(0.6, 0.9, 0.4, 0.1), (1.0 + 1e-12, 1.0 + 1e-12, 0.0, 0.0), (-7.0, 0.0, 2.0, 1.0)],
)
def test_rounding_and_hopeless_fits_are_cut_off(
    toys: tuple[Dissection, ...],
    r2: float,
    similarity: float,
    unexplained: float,
    dissimilar: float,
) -> None:
    narrow, wide = toys
    sides = "narrow", narrow.cut("blocks.0"), "wide", wide.cut("blocks.1")

    found = StitchFeatures.of(StitchOption(16, *sides, r2, similarity))

    assert (found.unexplained, found.dissimilar) == (
        pytest.approx(unexplained),
        pytest.approx(dissimilar),
    )


@given(seen=networks, better=stitches, worse=stitches)
def test_a_stitch_that_is_worse_in_every_respect_never_costs_less(
    seen: list[DropObservation], better: StitchFeatures, worse: StitchFeatures
) -> None:
    worse = replace(
        worse,
        unexplained=max(better.unexplained, worse.unexplained),
        dissimilar=max(better.dissimilar, worse.dissimilar),
        following=max(better.following, worse.following),
        strided=better.strided or worse.strided,
    )

    model = DropModel.fit(seen)

    assert 0.0 <= model.drop(better) <= model.drop(worse) + 1e-12


@given(seen=networks, first=stitches, second=stitches)
def test_drops_of_several_stitches_add(
    seen: list[DropObservation], first: StitchFeatures, second: StitchFeatures
) -> None:
    model = DropModel.fit(seen)

    together = model.expected(observed(0.0, first, second))

    assert together == pytest.approx(model.drop(first) + model.drop(second))


@given(seen=networks)
def test_a_fit_is_never_further_from_what_was_seen_than_the_assumption(
    seen: list[DropObservation],
) -> None:
    fitted, assumed = (
        sum((model.expected(one) - one.drop) ** 2 for one in seen)
        for model in (DropModel.fit(seen), DropModel())
    )

    assert fitted <= assumed + 1e-9


def test_many_networks_outweigh_the_prior() -> None:
    grid = [
        stitch(u / 4, d / 4, f / 4, strided)
        for u, d, f, strided in product(range(5), range(5), range(5), (False, True))
    ]
    judged = [
        observed(0.5 * one.dissimilar + 0.3 * one.strided * one.following, one) for one in grid
    ]

    model = DropModel.fit(judged)

    assert model.drop(stitch(0.9, 0.5)) == pytest.approx(0.25, abs=0.02)
    assert model.drop(stitch(0.9, 0.0, 0.5, True)) == pytest.approx(0.15, abs=0.02)
    assert model.observations == 250
    assert model.error == pytest.approx(0.0, abs=0.01)


def test_one_network_changes_little() -> None:
    model = DropModel.fit([observed(0.9, stitch(0.2))])

    assert PRIOR_SLOPE * 0.2 < model.drop(stitch(0.2)) < 0.9
    assert model.drop(stitch(0.2)) < 0.9
    assert model.error is None


def test_its_error_is_that_of_networks_left_out_of_the_fit() -> None:
    judged = [observed(0.1, stitch(0.4)), observed(0.3, stitch(0.4))]
    others = [DropModel.fit([judged[1]]), DropModel.fit([judged[0]])]

    model = DropModel.fit(judged)

    errors = [
        abs(other.expected(one) - one.drop) for other, one in zip(others, judged, strict=True)
    ]
    assert model.error == pytest.approx(sum(errors) / 2)


def test_gains_never_make_stitches_pay() -> None:
    model = DropModel.fit([observed(-5.0, stitch(1.0, 1.0, strided=True))])

    assert model.drop(stitch(1.0, 1.0, strided=True)) == 0.0


def test_stitches_that_cost_nothing_cost_nothing() -> None:
    assert FREE.drop(stitch(2.0, 1.0, strided=True)) == 0.0


def test_terms_have_names(toys: tuple[Dissection, ...]) -> None:
    assert list(DropModel().named) == list(TERMS)
    assert len(terms(stitch())) == len(TERMS)


@pytest.mark.parametrize("weights", [(), (*PRIOR[:-1], -0.1), (*PRIOR[:-1], float("nan"))])
def test_weights_of_something_else_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=f"A drop model has {len(TERMS)} weights, none negative"):
        DropModel(weights)


def test_a_network_without_stitches_is_no_observation() -> None:
    with pytest.raises(UsageError, match="tells nothing of drops"):
        DropObservation((), 0.5, 0.5)


@pytest.mark.parametrize("wrong", [{"unexplained": -0.1}, {"dissimilar": 1.1}, {"following": 2.0}])
def test_numbers_that_are_no_features_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match="is no stitch: its unexplained share must be 0 to 2"):
        stitch(**wrong)
