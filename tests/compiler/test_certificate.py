"""Certificate: it says the strongest thing that its numbers allow, and nothing stronger."""

import math
from math import hypot
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from compiler.certificate import Certificate, Met, Standing
from compiler.quality import Quality
from compiler.standing import PRIOR_ERROR, by_score, sampling_error
from targets.errors import UsageError

MET = Met(1000.0, 900.0, 950.0, 30, None)
SHARES = st.floats(0, 1, allow_subnormal=False)


def quality(reached: float, promised: float | None, proof: Any = "optimal") -> Standing:
    return Standing("quality", reached, promised, proof, 0.03, 0.04)


@pytest.mark.parametrize(
    ("promised", "holds"),
    [(0.75, "strict"), (0.8, "strict"), (0.89, "within interval"), (0.9, "none")],
)
def test_quality_that_is_promised_is_compared_with_what_was_measured(
    promised: float, holds: str
) -> None:
    stands = quality(0.8, promised)

    assert stands.interval == pytest.approx(1.96 * 0.05)
    assert stands.gain == pytest.approx(promised - 0.8)
    assert stands.holds == holds


@pytest.mark.parametrize(
    ("promised", "holds"),
    [(120.0, "strict"), (100.0, "strict"), (95.0, "within interval"), (80.0, "none")],
)
def test_of_latency_less_is_better(promised: float, holds: str) -> None:
    stands = Standing("latency_us", 100.0, promised, "optimal", 3.0, 4.0)

    assert stands.holds == holds


def test_nothing_else_within_the_limits_is_strict_and_nothing_known_is_none() -> None:
    assert quality(0.8, None, "infeasible").holds == "strict"
    assert quality(0.8, None, "unknown").holds == "none"
    assert quality(0.8, None, "unknown").gain is None


def test_a_computed_score_has_no_interval() -> None:
    assert Standing("score", 3.0, 3.1, "optimal", 0.0, 0.0).holds == "none"
    assert Standing("score", 3.0, 3.0, "optimal", 0.0, 0.0).holds == "strict"


@pytest.mark.parametrize(
    ("reached", "promised", "proof", "holds"),
    [
        (-math.inf, 3.0, "optimal", "none"),
        (-math.inf, -math.inf, "optimal", "strict"),
        (3.0, -math.inf, "optimal", "strict"),
        (-math.inf, None, "unknown", "none"),
        (-math.inf, None, "infeasible", "strict"),
    ],
)
def test_a_score_that_is_not_finite_is_worse_than_any_and_files_can_hold_it(
    reached: float, promised: float | None, proof: Any, holds: str
) -> None:
    best: Any = SimpleNamespace(score=reached)

    stands = by_score(best, promised, proof)

    file = TypeAdapter(Standing)
    assert stands.holds == holds
    assert file.validate_json(file.dump_json(stands)) == stands


@pytest.mark.parametrize("numbers", [(-math.inf, 1.0), (1.0, math.nan)])
def test_numbers_that_compare_with_nothing_are_refused(numbers: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="Give finite numbers"):
        Standing("score", *numbers, "optimal", 0.0, 0.0)


@given(SHARES, SHARES, SHARES, SHARES)
def test_a_wider_interval_never_says_less(
    reached: float, promised: float, model: float, images: float
) -> None:
    narrow = Standing("quality", reached, promised, "optimal", model, images)
    wide = Standing("quality", reached, promised, "optimal", 2 * model, 2 * images)

    order = ("none", "within interval", "strict")
    assert narrow.interval == pytest.approx(1.96 * hypot(model, images))
    assert order.index(wide.holds) >= order.index(narrow.holds)
    assert (wide.holds == "strict") == (narrow.holds == "strict")


def test_a_certificate_follows_from_its_numbers() -> None:
    made = Certificate.of(quality(0.8, 0.85), "no gain", MET, 5, 1)

    assert (made.holds, made.interval) == ("within interval", pytest.approx(0.098))
    with pytest.raises(UsageError, match="says 'strict', and its numbers say 'within interval'"):
        Certificate("strict", "settled", MET, quality(0.8, 0.85), 0.098, 5, 0)


def test_a_budget_that_was_missed_is_certified_by_nothing() -> None:
    with pytest.raises(UsageError, match=r"says that 1001\.0 us keep a budget of 1000\.0 us"):
        Met(1000.0, 990.0, 1001.0, 30, None)


def test_right_answers_on_a_few_images_are_no_certainty() -> None:
    few, many = Quality(14, 1.0, 1.0, 1.0), Quality(1400, 1.0, 1.0, 1.0)

    assert sampling_error(few) == pytest.approx((16 / 18 * 2 / 18 / 18) ** 0.5)
    assert sampling_error(many) < 0.002
    assert PRIOR_ERROR == 0.1
