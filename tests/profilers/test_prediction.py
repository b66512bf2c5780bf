"""Prediction: what follows a rule is found again, and what does not is shared out honestly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profilers.context import Context
from profilers.deviations import DEFAULT_SHARE, SHARES, Deviations
from profilers.measurement import Measurement
from profilers.part_costs import PartCosts, PartEstimate
from profilers.parts import Cost, Observation, Part, distinct, inner_bytes
from profilers.prediction import LatencyPredictor
from targets.errors import UsageError
from tests.profilers.prediction_cases import CHAINS, PARTS, alone_us, observed, part

ALONE = PartCosts.learn(PARTS, {one.key: Cost(alone_us(one), 0.5) for one in PARTS})
RULE = Context(engine_us=4.0, edge_byte_us=1e-3, weight_byte_us=2e-4, node_us=1.5)

coefficients = st.builds(
    Context,
    st.floats(0, 20, allow_subnormal=False),
    st.floats(0, 5e-3, allow_subnormal=False),
    st.floats(0, 1e-3, allow_subnormal=False),
    st.floats(0, 5, allow_subnormal=False),
)


@given(rule=coefficients)
def test_the_context_of_a_target_is_found_again(rule: Context) -> None:
    found = Context.fit(observed(rule), ALONE)

    assert found.engine_us == pytest.approx(rule.engine_us, rel=1e-4, abs=1e-4)
    assert found.edge_byte_us == pytest.approx(rule.edge_byte_us, rel=1e-4, abs=1e-7)
    assert found.weight_byte_us == pytest.approx(rule.weight_byte_us, rel=1e-4, abs=1e-8)
    assert found.node_us == pytest.approx(rule.node_us, rel=1e-4, abs=1e-4)


def test_nothing_to_learn_from_changes_nothing() -> None:
    alone_only = [Observation("one", PARTS[:1], Cost(80.0, 1.0))]

    assert Context.fit([], ALONE) == Context.fit(alone_only, ALONE) == Context()


def test_no_correction_is_negative_whatever_was_measured() -> None:
    absurd = [Observation("odd", chain, Cost(1.0, 0.1)) for chain in CHAINS]

    found = Context.fit(absurd, ALONE)

    assert min(found.engine_us, found.edge_byte_us, found.weight_byte_us, found.node_us) >= 0


@given(rule=coefficients)
def test_a_network_that_follows_the_rule_is_predicted(rule: Context) -> None:
    *seen, unseen = observed(rule)

    prediction = LatencyPredictor.fit(ALONE, seen).predict(unseen.chain)

    assert prediction.median_us == pytest.approx(unseen.cost.median_us, rel=1e-3)
    low, high = prediction.interval_us
    assert low <= unseen.cost.median_us <= high


def test_a_prediction_is_the_sum_of_its_terms() -> None:
    predictor = LatencyPredictor.fit(ALONE, observed(RULE))

    prediction = predictor.predict(PARTS)

    terms = [predictor.term(one).total_us for one in PARTS]
    assert prediction.median_us == pytest.approx(predictor.outside_us(PARTS) + sum(terms))
    assert [term.part for term in prediction.terms] == list(PARTS)


def test_what_a_part_costs_beyond_the_rule_is_found_in_the_networks_that_have_it() -> None:
    seen = observed(RULE, extra={"b4": 60.0})

    predictor = LatencyPredictor.fit(ALONE, seen)

    deviation = {one.key: predictor.term(one).deviation_us for one in PARTS}
    assert max(deviation, key=lambda key: deviation[key]) == "b4"
    assert predictor.predict(PARTS).median_us == pytest.approx(
        next(o.cost.median_us for o in seen if o.whole and o.chain == PARTS), rel=0.02
    )


def test_a_donor_that_was_measured_whole_is_predicted_as_it_was_measured() -> None:
    whole = Observation("donor", PARTS, Cost(1700.0, 2.0))

    prediction = LatencyPredictor.fit(ALONE, [whole]).predict(PARTS)

    assert prediction.median_us == pytest.approx(1700.0, rel=0.01)


def test_parts_that_no_network_had_are_more_uncertain() -> None:
    seen = [o for o in observed(RULE) if PARTS[4] not in o.chain]

    predictor = LatencyPredictor.fit(ALONE, seen)

    known, unknown = predictor.predict(PARTS[:2]), predictor.predict((PARTS[0], PARTS[4]))
    assert unknown.half_width_us / unknown.median_us > known.half_width_us / known.median_us


def test_every_whole_network_is_predicted_from_the_others() -> None:
    seen = observed(RULE, extra={"b0": 5.0, "b3": -20.0})

    left_out = LatencyPredictor.fit(ALONE, seen).left_out

    assert [one.name for one in left_out] == [o.name for o in seen if o.whole]
    others = LatencyPredictor.fit(ALONE, [o for o in seen if o.name != left_out[0].name])
    assert left_out[0].predicted_us == pytest.approx(others.predict(CHAINS[0]).median_us)
    assert left_out[0].relative_error == pytest.approx(
        left_out[0].predicted_us / seen[1].cost.median_us - 1
    )


def test_without_whole_networks_nobody_knows_the_error() -> None:
    assert LatencyPredictor.fit(ALONE, []).relative_error is None
    assert LatencyPredictor.fit(ALONE, []).predict(PARTS).half_width_us > 0


def test_intervals_widen_where_predictions_fail() -> None:
    """A model of parts that misses every other network by a fifth must say so."""
    good = observed(RULE)
    bad = [
        Observation(o.name, o.chain, Cost(o.cost.median_us * (1.2 if i % 4 == 1 else 0.9), 0.01))
        if o.whole
        else o
        for i, o in enumerate(good)
    ]

    honest, sure = (LatencyPredictor.fit(ALONE, seen).predict(PARTS) for seen in (bad, good))

    assert honest.half_width_us > 2 * sure.half_width_us
    low, high = honest.interval_us
    assert low < 0.95 * honest.median_us < 1.05 * honest.median_us < high


def test_a_part_never_costs_less_than_a_share_of_itself_alone() -> None:
    tiny = [Observation("tiny", PARTS, Cost(1.0, 0.001))]

    predictor = LatencyPredictor.fit(ALONE, tiny)

    for one in PARTS:
        assert predictor.term(one).total_us >= 0.05 * alone_us(one) > 0


def test_deviations_say_nothing_where_nothing_whole_was_measured() -> None:
    none = Deviations(ALONE, (), ())

    assert none.of(PARTS[0]) == 0.0
    prior = (DEFAULT_SHARE * alone_us(PARTS[0])) ** 2 + 0.5**2
    assert none.variance(PARTS[:1]) == pytest.approx(prior)


def test_a_measurement_of_a_network_leaves_less_doubt_of_it() -> None:
    whole = Observation("pair", PARTS[:2], Cost(400.0, 1.0))
    told = Deviations(ALONE, (whole,), (10.0,))
    untold = Deviations(ALONE, (), ())

    assert told.variance(PARTS[:2]) < 0.05 * untold.variance(PARTS[:2])
    assert told.variance(PARTS[2:3]) == pytest.approx(untold.variance(PARTS[2:3]))
    assert told.of(PARTS[0]) + told.of(PARTS[1]) == pytest.approx(10.0, rel=0.05)


def test_the_share_of_a_few_networks_is_taken_on_trust() -> None:
    few, many = observed(RULE)[1:6:2], observed(RULE)[1::2]

    assert Deviations.fit(ALONE, few, [0.0] * len(few)).share == DEFAULT_SHARE
    assert Deviations.fit(ALONE, many, [0.0] * len(many)).share == min(SHARES)


def test_what_is_measured_counts_and_the_rest_is_estimated() -> None:
    costs = {one.key: Cost(alone_us(one), 0.0) for one in PARTS[:4]}

    alone = PartCosts.learn(PARTS, costs)

    assert alone.of(PARTS[0]) == Cost(alone_us(PARTS[0]), 0.0)
    assert alone.of(PARTS[4]).median_us == pytest.approx(alone_us(PARTS[4]), rel=0.3)
    assert alone.of(PARTS[4]).error_us >= 0.05 * alone.of(PARTS[4]).median_us


def test_an_estimate_needs_something_of_the_kind() -> None:
    stitch = Part("stitch a>b", "stitch", 1, 1, 1, 1, 1)

    with pytest.raises(UsageError, match="The stitch 'stitch a>b' was not measured, and no other"):
        ALONE.of(stitch)


@given(times=st.lists(st.floats(0.5, 1e4), min_size=1, max_size=5))
def test_no_part_is_ever_estimated_at_nothing_or_less(times: list[float]) -> None:
    costs = {one.key: Cost(us, 0.0) for one, us in zip(PARTS, times, strict=False)}

    fit = PartEstimate.fit(PARTS, costs)

    assert fit is not None
    assert min(fit.coefficients) >= 0.0
    assert fit.estimate(part("new")).median_us > 0


def test_equal_parts_are_one() -> None:
    assert distinct([PARTS[:2], (part("b0"), PARTS[2])]) == PARTS[:3]
    assert inner_bytes(PARTS[:2]) == 200 + 700


def test_a_cost_has_the_standard_error_of_its_measurement() -> None:
    measured = Measurement("k", "n", ((1e-3,), (1.1e-3,), (1.2e-3,)), (0.0, 0.0, 0.0), False)

    assert Cost.of(measured).median_us == pytest.approx(1100.0)
    assert Cost.of(measured).error_us == pytest.approx(measured.standard_error_us)


@pytest.mark.parametrize("us", [0.0, -1.0, float("nan"), float("inf")])
def test_a_latency_that_is_none_is_refused(us: float) -> None:
    with pytest.raises(UsageError, match="cannot be predicted from"):
        Cost(us, 1.0)
