"""Latency model: costs of arcs add up to the predictor's answer for the network."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.conv_shapes import ConvShape
from compiler.dissection import Dissection
from compiler.latency_model import UNKNOWN_ERROR, Interval, LatencyModel, total
from compiler.parts import DonorParts, stitch_part
from compiler.seams import Seam
from compiler.stitching import StitchShape
from profilers.context import Context
from profilers.deviations import Deviations
from profilers.part_costs import PartCosts, PartEstimate
from profilers.parts import Cost, Part
from profilers.prediction import LatencyPredictor
from tests.compiler.latency_cases import plain_model

amounts = st.floats(0, 1e6, allow_subnormal=False)
costs = st.lists(st.floats(1.0, 1e5), min_size=5, max_size=5)
SHAPE = StitchShape((8, 28, 28), (16, 28, 28))


def priced(donor: Dissection, costs: list[float]) -> dict[str, Interval]:
    return {b.name: Interval(c, 1.1 * c) for b, c in zip(donor.blocks, costs, strict=True)}


@given(costs=costs, whole=st.floats(1.0, 1e5), spread=st.floats(1.0, 2.0))
def test_a_pure_donor_keeps_its_own_interval(
    toys: tuple[Dissection, Dissection], costs: list[float], whole: float, spread: float
) -> None:
    narrow, _ = toys
    measured = Interval(whole, whole * spread)
    model = plain_model(priced(narrow, costs), {("narrow", 16): measured}, 1.0)

    predicted = total([model.block(block) for block in narrow.blocks])

    assert predicted.median_us == pytest.approx(measured.median_us, rel=1e-9)
    assert predicted.upper_us == pytest.approx(measured.upper_us, rel=1e-9)


@given(
    engine=st.floats(0, 50, allow_subnormal=False),
    edge=st.floats(0, 1e-3, allow_subnormal=False),
    weight=st.floats(0, 1e-3, allow_subnormal=False),
    node=st.floats(0, 5, allow_subnormal=False),
)
def test_arcs_add_up_to_what_the_predictor_says(
    toys: tuple[Dissection, Dissection], engine: float, edge: float, weight: float, node: float
) -> None:
    narrow, _ = toys
    chain = tuple(Part(b.name, "block", 5, 400, 3, 64, 128) for b in narrow.blocks)
    alone = PartCosts({part.key: Cost(500.0, 1.0) for part in chain}, {})
    context = Context(engine, edge, weight, node)
    predictor = LatencyPredictor(alone, context, Deviations(alone, (), ()))
    parts = DonorParts(tuple(b.name for b in narrow.blocks), chain, "whole")
    model = LatencyModel(predictor, {("narrow", 16): parts}, {})

    predicted = total([model.block(block) for block in narrow.blocks])

    assert predicted.median_us == pytest.approx(predictor.predict(chain).median_us, rel=1e-9)


def test_blocks_of_a_donor_that_was_not_measured_have_the_predictions_margin(
    toys: tuple[Dissection, Dissection],
) -> None:
    narrow, _ = toys
    whole = {("narrow", 16): Interval(50.0, 60.0)}
    known = plain_model(priced(narrow, [10.0] * 5), whole, 1.0, error=0.1)

    unmeasured = LatencyModel(known.predictor, {("narrow", 16): donor_of(narrow)}, {}, 0.1)

    assert known.block(narrow.blocks[0]) == Interval(10.0, pytest.approx(12.0))
    assert unmeasured.block(narrow.blocks[0]) == Interval(10.0, pytest.approx(11.96))


def test_a_stitch_bears_its_own_error_and_that_of_predicting_a_network(
    toys: tuple[Dissection, Dissection],
) -> None:
    narrow, _ = toys
    whole = {("narrow", 16): Interval(100.0, 100.0)}
    plain = plain_model(priced(narrow, [20.0] * 5), whole, 4.0)
    stitch = PartEstimate((4.0, 0.0, 0.0, 0.0, 0.0), 0.25, 5)
    alone = replace(plain.predictor.alone, estimates={"stitch": stitch})
    predictor = LatencyPredictor(alone, Context(), Deviations(alone, (), ()))

    model = LatencyModel(predictor, {("narrow", 16): donor_of(narrow)}, whole)

    # 1.96 errors of the stitch, and as many of a network of 100 us.
    assert model.stitch(SHAPE).median_us == pytest.approx(4.0)
    assert model.stitch(SHAPE).upper_us == pytest.approx(4 + 1.96 * (1.0 + 100 * UNKNOWN_ERROR))


def test_a_stitch_that_is_folded_costs_what_its_neighbour_grows_by(
    toys: tuple[Dissection, Dissection],
) -> None:
    narrow, _ = toys
    stitch = PartEstimate((4.0, 1e-3, 1e-6, 1e-6, 1.0), 0.25, 5)
    alone = PartCosts({}, {"stitch": stitch})
    predictor = LatencyPredictor(alone, Context(engine_us=2.0), Deviations(alone, (), ()))
    whole = {("narrow", 16): Interval(100.0, 100.0)}
    model = LatencyModel(predictor, {("narrow", 16): donor_of(narrow)}, whole)
    equal = StitchShape((8, 28, 28), (9, 28, 28))
    seam = Seam(before=ConvShape(8, 48, (1, 1), 784))

    # 48 more weights on 784 positions: 37632 MACs and 192 bytes, and no operator or engine.
    assert model.stitch(equal, seam).median_us == pytest.approx(37.632 + 192e-6)
    assert model.stitch(equal).median_us == pytest.approx(
        4.0 + 1e-3 * equal.macs + 1e-6 * (4 * equal.params + 4 * 17 * 784) + 1.0 - 2.0
    )


def test_the_sum_of_the_blocks_is_compared_with_the_donor(
    toys: tuple[Dissection, Dissection],
) -> None:
    narrow, _ = toys
    chain = tuple(Part(b.name, "block", 1, 0, 1, 0, 0) for b in narrow.blocks)
    alone = PartCosts({part.key: Cost(9.0, 0.0) for part in chain}, {})
    predictor = LatencyPredictor(alone, Context(), Deviations(alone, (), ()))
    wholes = {("narrow", 16): Interval(50.0, 50.0)}
    parts = {("narrow", 16): DonorParts(tuple(b.name for b in narrow.blocks), chain, "whole")}

    assert LatencyModel(predictor, parts, wholes).additivity_error("narrow", 16) == pytest.approx(
        -0.1
    )


def test_stitches_of_one_shape_are_one_part() -> None:
    pointwise = stitch_part(SHAPE)
    nearest = stitch_part(StitchShape((8, 7, 7), (16, 14, 14)))

    assert pointwise == Part("stitch 8x28x28>16x28x28", "stitch", 100352, 576, 1, 25088, 50176)
    assert nearest.nodes == 2


@given(parts=st.lists(st.tuples(amounts, amounts), min_size=1, max_size=20))
def test_totals_are_exact_sums_of_both_ends(parts: list[tuple[float, float]]) -> None:
    whole = total([Interval(a, a + b) for a, b in parts])

    assert whole.median_us == pytest.approx(sum(a for a, _ in parts))
    assert whole.upper_us == pytest.approx(sum(a + b for a, b in parts))


def donor_of(donor: Dissection) -> DonorParts:
    names = tuple(block.name for block in donor.blocks)
    return DonorParts(names, tuple(Part(n, "block", 1, 0, 1, 0, 0) for n in names), donor.name)
