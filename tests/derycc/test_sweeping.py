"""Sweeping: a spread of budgets, one answer or refusal each."""

from compiler.workbench import Workbench
from derycc.building import Request
from derycc.sweeping import HEADROOM, default_budgets, donors_alone, sweep


def test_donors_alone_come_fastest_first(desk: Workbench) -> None:
    alone = donors_alone(desk)

    latencies = [candidate.latency.median_us for candidate in alone]
    assert latencies == sorted(latencies)
    assert {candidate.blueprint.input_size for candidate in alone} == {160}


def test_budgets_spread_from_below_the_fastest_to_above_the_slowest(desk: Workbench) -> None:
    alone = donors_alone(desk)

    texts = default_budgets(desk, Request(""), alone, 4)

    budgets = [1000 * float(text.removesuffix("ms")) for text in texts]
    assert len(budgets) == 4
    assert budgets == sorted(budgets)
    assert budgets[0] < alone[0].latency.median_us
    assert abs(budgets[-1] - alone[-1].latency.upper_us * HEADROOM) <= 10


def test_a_budget_that_cannot_be_kept_does_not_end_a_sweep(desk: Workbench) -> None:
    refused, kept = sweep(desk, Request("", candidates=1), ("1us", "2ms"))

    assert refused.built is None
    assert "The fastest possible takes" in str(refused.refusal)
    assert kept.refusal is None
    assert kept.built is not None
    assert kept.built.candidate.latency.upper_us <= 2000.0
