"""Sweeping: a spread of budgets, one answer or refusal each."""

from dataclasses import replace
from typing import Any

import pytest

from compiler.candidates import Candidate
from compiler.quality import Quality
from compiler.workbench import Workbench
from derycc import building, sweeping
from derycc.building import Request, limits
from derycc.chance import least_share
from derycc.sweeping import HEADROOM, best_donor, default_budgets, donors_alone, sweep
from targets.budget import Budget
from targets.errors import BudgetMissedError, UndecidedError, VerificationError

EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"


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


@pytest.mark.parametrize(
    "error",
    [VerificationError("Not the same."), BudgetMissedError("Slow."), UndecidedError("No time.")],
)
def test_a_budget_whose_network_is_refused_at_the_end_does_not_end_a_sweep(
    desk: Workbench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    build = building.build
    asked: list[str | None] = []

    def refused_first(request: Request, *others: Any) -> Any:
        asked.append(request.latency)
        if len(asked) == 1:
            raise error
        return build(request, *others)

    monkeypatch.setattr(sweeping, "build", refused_first)

    refused, kept = sweep(desk, Request(None, candidates=1), ("1.9ms", "2ms"))

    assert asked == ["1.9ms", "2ms"]
    assert (refused.built, refused.refusal) == (None, str(error))
    assert refused.exit_code == type(error).exit_code  # type: ignore[attr-defined]
    assert kept.built is not None


def test_a_network_that_guesses_is_warned_of(desk: Workbench) -> None:
    (point,) = sweep(desk, Request(None, candidates=1), ("2ms",))

    assert point.built is not None
    classes = desk.donors.dissection(EFFICIENT, 160).cuts[-1].tensor.shape[-1]
    guesses = least_share(point.built.candidate.judged.held_out) <= 1 / classes
    assert len(point.warnings) == guesses


@pytest.fixture
def alone(desk: Workbench) -> tuple[Candidate, ...]:
    return donors_alone(desk)


def named(donor: Candidate | None) -> str | None:
    return None if donor is None else donor.blueprint.segments[0].model


@pytest.mark.parametrize(
    ("budget", "left"),
    [
        (Budget(), {EFFICIENT, RESIDUAL}),
        (Budget(excluded=("test_efficientnet",)), {RESIDUAL}),
        (Budget(required=("test_efficientnet",)), {EFFICIENT}),
        (Budget(required=("test_efficientnet", "test_resnet")), set()),
        (Budget(params=1), set()),
        (Budget(macs=1), set()),
        (Budget(weight_bytes=1), set()),
        (Budget(min_quality=1.0), set()),
    ],
)
def test_a_donor_that_misses_any_limit_is_not_beside_the_answer(
    desk: Workbench, alone: tuple[Candidate, ...], budget: Budget, left: set[str]
) -> None:
    asked = limits(Request("1s", budget), desk)
    judged = [replace(one, judged=replace(one.judged, level=0.99)) for one in alone]

    found = {
        name
        for one in judged
        if (name := named(best_donor((one,), asked, desk.donors))) is not None
    }

    assert found == left


def test_the_fastest_donor_is_beside_an_answer_that_is_to_be_fast(
    desk: Workbench, alone: tuple[Candidate, ...]
) -> None:
    both = [
        replace(one, judged=replace(one.judged, calibration=Quality(20, None, None, score)))
        for one, score in zip(alone, (0.1, 0.9), strict=True)
    ]
    fast, good = both

    assert best_donor((fast, good), Budget(min_quality=0.05), desk.donors) == fast
    assert best_donor((fast, good), Budget(min_quality=0.5), desk.donors) == good
    assert best_donor((fast, good), Budget(), desk.donors) == good


def test_every_donor_alone_costs_what_a_search_says(
    desk: Workbench, alone: tuple[Candidate, ...]
) -> None:
    """The parameters of a donor are counted as those of networks are."""
    for donor in alone:
        (model,) = (m for m in desk.zoo if m.name == named(donor))
        most = Budget(params=model.params)
        assert best_donor((donor,), most, desk.donors) == donor
        assert best_donor((donor,), replace(most, params=model.params - 1), desk.donors) is None
