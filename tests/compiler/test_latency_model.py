"""Latency model: whole donors come out exactly, and known coefficients are found again."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from compiler.dissection import Dissection
from compiler.latency_model import Interval, LatencyModel, StitchModel, total
from compiler.stitching import StitchShape

NO_STITCHES = StitchModel(0.0, 0.0, 0.0, 0.0, 0)
amounts = st.floats(0, 1e6, allow_subnormal=False)
costs = st.lists(st.floats(1.0, 1e5), min_size=5, max_size=5)


def shape(channels: int, goal: int, side: int) -> StitchShape:
    return StitchShape((channels, side, side), (goal, side, side))


SHAPES = [shape(c, g, s) for c, g, s in ((8, 16, 28), (64, 8, 7), (32, 32, 14), (96, 24, 14))]
SHAPES += [shape(16, 200, 7), shape(128, 160, 4)]


def macs_and_bytes(s: StitchShape) -> tuple[int, int]:
    side = s.source[1]
    return s.source[0] * s.target[0] * side**2, 4 * (s.source[0] + s.target[0]) * side**2


def model_of(dissections: Sequence[Dissection], alone: float, whole: float) -> LatencyModel:
    blocks = {b.name: Interval(alone, alone * 1.1) for d in dissections for b in d.blocks}
    wholes = {(d.name, d.input_size): Interval(whole, whole * 1.02) for d in dissections}
    return LatencyModel(blocks, wholes, NO_STITCHES)


@given(costs=costs, uppers=costs, whole=st.floats(1.0, 1e5), spread=st.floats(1.0, 2.0))
def test_a_pure_donors_prediction_is_its_measurement(
    toys: tuple[Dissection, Dissection],
    costs: list[float],
    uppers: list[float],
    whole: float,
    spread: float,
) -> None:
    narrow, _ = toys
    blocks = {
        block.name: Interval(cost, cost + upper)
        for block, cost, upper in zip(narrow.blocks, costs, uppers, strict=True)
    }
    measured = Interval(whole, whole * spread)
    model = LatencyModel(blocks, {("narrow", 16): measured}, NO_STITCHES)

    predicted = total([model.block(block) for block in narrow.blocks])

    assert predicted.median_us == pytest.approx(measured.median_us, rel=1e-12)
    assert predicted.upper_us == pytest.approx(measured.upper_us, rel=1e-12)
    assert model.additivity_error("narrow", 16) == pytest.approx(sum(costs) / whole - 1, abs=1e-9)


def test_one_size_of_a_donor_says_nothing_about_another(
    toys: tuple[Dissection, Dissection],
) -> None:
    narrow, wide = toys
    wholes = {("narrow", 16): Interval(50.0, 50.0), ("wide", 16): Interval(200.0, 200.0)}
    blocks = {b.name: Interval(20.0, 20.0) for d in (narrow, wide) for b in d.blocks}
    blocks |= {"narrow@160/input..output": Interval(1e6, 1e6)}

    model = LatencyModel(blocks, wholes, NO_STITCHES)

    assert model.block(narrow.blocks[0]) == Interval(10.0, 10.0)
    assert model.block(wide.blocks[0]) == Interval(40.0, 40.0)


def test_stitches_are_scaled_like_blocks_on_average(toys: tuple[Dissection, Dissection]) -> None:
    narrow, wide = toys
    blocks = {b.name: Interval(20.0, 20.0) for d in (narrow, wide) for b in d.blocks}
    wholes = {("narrow", 16): Interval(50.0, 60.0), ("wide", 16): Interval(100.0, 120.0)}
    model = LatencyModel(blocks, wholes, StitchModel(4.0, 0.0, 0.0, 0.25, 1))

    stitch = model.stitch(SHAPES[0])

    # Factors 0.5 and 1; the margin stays twice the error.
    assert stitch.median_us == pytest.approx(4.0 * 0.75)
    assert stitch.upper_us == pytest.approx(4.0 * 1.5 * 0.75)


@given(
    intercept=st.floats(0.1, 20.0), per_mac=st.floats(1e-6, 1e-3), per_byte=st.floats(1e-6, 1e-3)
)
def test_known_coefficients_are_recovered(
    intercept: float, per_mac: float, per_byte: float
) -> None:
    measured = {}
    for s in SHAPES:
        macs, traffic = macs_and_bytes(s)
        measured[s] = intercept + per_mac * macs + per_byte * traffic

    model = StitchModel.fit(measured)

    unseen = shape(40, 56, 14)
    macs, traffic = macs_and_bytes(unseen)
    expected = intercept + per_mac * macs + per_byte * traffic
    assert model.intercept_us == pytest.approx(intercept, rel=1e-3)
    assert model.per_mac_us == pytest.approx(per_mac, rel=1e-3)
    assert model.per_byte_us == pytest.approx(per_byte, rel=1e-3)
    assert model.error == pytest.approx(0.0, abs=1e-4)
    assert model.estimate(unseen).median_us == pytest.approx(expected, rel=1e-4)
    assert model.shapes == 6


@given(times=st.lists(st.floats(0.5, 1e4), min_size=1, max_size=6))
def test_no_coefficient_is_ever_negative(times: list[float]) -> None:
    model = StitchModel.fit(dict(zip(SHAPES, times, strict=False)))

    assert min(model.intercept_us, model.per_mac_us, model.per_byte_us) >= 0.0
    assert model.error >= 0.0


def test_the_upper_end_lies_two_errors_above() -> None:
    model = StitchModel(10.0, 0.0, 0.0, 0.1, 5)

    assert model.estimate(SHAPES[0]) == Interval(10.0, pytest.approx(12.0))


def test_the_error_of_a_single_shape_is_taken_as_whole() -> None:
    model = StitchModel.fit({SHAPES[0]: 12.0})

    assert model.error == 1.0
    assert model.estimate(SHAPES[0]).median_us == pytest.approx(12.0)


def test_donors_that_no_stitch_can_join_have_a_model_all_the_same() -> None:
    assert StitchModel.fit({}) == NO_STITCHES


@given(parts=st.lists(st.tuples(amounts, amounts), max_size=20))
def test_totals_are_exact_sums_of_both_ends(parts: list[tuple[float, float]]) -> None:
    assume(parts)
    whole = total([Interval(a, a + b) for a, b in parts])

    assert whole.median_us == pytest.approx(sum(a for a, _ in parts))
    assert whole.upper_us >= whole.median_us
