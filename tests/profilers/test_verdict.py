"""Verdicts: what ratios of rounds say, and how far they are to be trusted."""

import numpy as np
import pytest

from profilers.verdict import Ratio, Verdict, ratio
from targets.errors import UsageError


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.99, 1.01, Verdict.SAME),
        (1.001, 1.02, Verdict.SAME),
        (1.01, 1.03, Verdict.FASTER),
        (1.3, 1.5, Verdict.FASTER),
        (0.7, 0.99, Verdict.SLOWER),
        (0.97, 1.01, Verdict.AMBIGUOUS),
        (0.5, 2.0, Verdict.AMBIGUOUS),
    ],
)
def test_the_interval_decides_the_verdict(low: float, high: float, verdict: Verdict) -> None:
    assert Ratio((low * high) ** 0.5, low, high).verdict is verdict


def test_a_ratio_is_the_geometric_mean_of_the_rounds() -> None:
    found = ratio([1.0, 2.0, 1.0], [2.0, 4.0, 2.0])

    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_drift_that_hits_both_drops_out() -> None:
    drift = np.linspace(1, 3, 7)

    found = ratio((drift * 1.0).tolist(), (drift * 1.1).tolist())

    assert found.low == pytest.approx(1.1)
    assert found.verdict is Verdict.FASTER


def test_turning_the_pair_turns_the_ratio() -> None:
    mine, other = [1.0, 1.1, 0.9, 1.05, 1.0], [1.2, 1.1, 1.3, 1.2, 1.15]

    there, back = ratio(mine, other), ratio(other, mine)

    assert back.value == pytest.approx(1 / there.value)
    assert back.low == pytest.approx(1 / there.high, rel=0.01)


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    random, hits = np.random.default_rng(0), 0
    for _ in range(300):
        scatter = random.normal(0, 0.02, 7)
        found = ratio([1.0] * 7, np.exp(0.05 + scatter).tolist())
        hits += found.low <= np.exp(0.05) <= found.high

    assert 0.85 <= hits / 300 <= 0.99


@pytest.mark.parametrize(("mine", "other"), [([1.0, 1.0], [1.0, 1.0]), ([1.0] * 3, [1.0] * 4)])
def test_too_few_rounds_are_refused(mine: list[float], other: list[float]) -> None:
    with pytest.raises(UsageError, match=r"Measure both in the same rounds, at least 3\."):
        ratio(mine, other)
