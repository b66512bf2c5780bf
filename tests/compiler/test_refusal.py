"""Refusals: the limit that is named can be changed as it is said, and then there is a network."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.assembly import Status
from compiler.constraints import ArcFacts, constrained
from compiler.network import Blueprint
from compiler.problem import Arc, Problem
from compiler.refusal import Question, asked_for, refusal
from targets.budget import Budget
from tests.compiler.constraint_cases import Drawn, budgets, drawn_problems
from tests.compiler.solver_cases import out_of_time


def question(drawn: Drawn, excess: dict[str, float] | None = None) -> Question:
    def problem(budget: Budget) -> Problem:
        return constrained(drawn.problem, budget, drawn.facts)

    def blueprint(arcs: object) -> Blueprint:
        used = drawn.used(tuple(arc for arc in drawn.problem.arcs if arc.id in set(arcs)))  # type: ignore[call-overload]
        return Blueprint.pure("+".join(sorted(used)), 16)

    return Question(problem, blueprint, excess or {})


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_least_that_is_said_to_be_enough_is(data: st.DataObject) -> None:
    drawn: Drawn = data.draw(drawn_problems(3))
    budget: Budget = data.draw(budgets(drawn.donors))
    ask = question(drawn)
    assume(not ask.any(budget).found)

    said = refusal(ask, budget)

    assert said.startswith("No network of this zoo is ")
    for name, _ in budget.amounts():
        least = ask.least(budget, name)
        if least is None or not least.amount:
            continue
        enough = -(-least.amount // 1)
        amount = float(enough) if name.startswith("latency_us") else int(enough)
        assert ask.any(budget.limited(name, amount)).found


def one(params: float = 5.0) -> Drawn:
    costs = (("latency_us", 12_345.6), ("params", params))
    problem = Problem("maximize", "in", "out", (Arc("a", "in", "out", 0.7123, costs),))
    return Drawn(problem, {"a": ArcFacts("d", 100.0, 50.0)})


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (
            Budget(latency_us=12_345.0, params=5),
            "No network of this zoo is predicted to run within 12.34 ms. The fastest possible "
            "takes 12.35 ms (upper end): 16px d[input..output]. Ask for that much, allow more "
            "stitches, or add faster donors.",
        ),
        (
            Budget(params=4),
            "No network of this zoo is within the limits asked for (number of parameters 4). It is "
            "enough to change one of them: number of parameters 5.",
        ),
        (
            Budget(memory_bytes=100),
            "No network of this zoo is within the limits asked for (peak memory 100 B). It is "
            "enough to change one of them: peak memory 150 B.",
        ),
        (
            Budget(min_quality=0.8),
            "No network of this zoo is within the limits asked for (quality of at least 80 %). It "
            "is enough to change one of them: quality of at least 71.23 %.",
        ),
        (
            Budget(params=4, memory_bytes=1),
            "No network of this zoo is within the limits asked for (number of parameters 4; peak "
            "memory 1 B). Of all networks the least number of parameters is 5; the least peak "
            "memory is 150 B. Ask for that much, or use other donors.",
        ),
        (
            Budget(excluded=("d",)),
            "No network of this zoo is within the limits asked for (without d). It is enough to "
            "change one of them: not without d.",
        ),
        (
            Budget(required=("e",), donors=1),
            "No network of this zoo is within the limits asked for (number of donors 1; with e). "
            "It is enough to change one of them: not with e.",
        ),
        (
            Budget(required=("e",), excluded=("d",)),
            "No network of this zoo is within the limits asked for (with e; without d). Each limit "
            "can be kept, but no one of them is the reason. Relax several.",
        ),
    ],
)
def test_a_refusal_names_what_would_have_to_give_way(budget: Budget, said: str) -> None:
    assert refusal(question(one()), budget) == said


def test_what_was_learned_of_memory_is_in_what_is_enough() -> None:
    ask = question(one(), {"memory_bytes": 2.0})

    least = ask.least(Budget(memory_bytes=100), "memory_bytes")

    assert least is not None
    assert least.amount == 300.0


def test_limits_are_told_in_words() -> None:
    budget = Budget(donors=2, energy_j=0.001, stitches=1)

    assert asked_for(budget) == ["number of stitches 1", "energy 1 mJ", "number of donors 2"]


def two_targets() -> Question:
    """One network, which takes 12.35 ms on small and 6.79 ms on box."""
    costs = (("latency_us", 12_345.6), ("latency_us@box", 6_789.0), ("params", 5.0))
    problem = Problem("maximize", "in", "out", (Arc("a", "in", "out", 0.7, costs),))
    drawn = Drawn(problem, {"a": ArcFacts("d", 100.0, 50.0)})
    return replace(question(drawn), here="small")


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (
            Budget(latency_us=13_000.0, elsewhere=(("box", 6_000.0),)),
            "No network of this zoo is predicted to run within 6 ms on box. The fastest possible "
            "on box takes 6.789 ms (upper end): 16px d[input..output]. Ask for that much, allow "
            "more stitches, or add faster donors.",
        ),
        (
            Budget(latency_us=12_000.0, params=9, elsewhere=(("box", 7_000.0),)),
            "No network of this zoo is predicted to run within 12 ms on small and keep the other "
            "limits. The fastest possible on small within the other limits takes 12.35 ms (upper "
            "end): 16px d[input..output]. Ask for that much, allow more stitches, or add faster "
            "donors.",
        ),
        (
            Budget(latency_us=12_000.0, elsewhere=(("box", 6_000.0),)),
            "No network of this zoo is within the limits asked for (latency on small (upper end) "
            "12 ms; latency on box (upper end) 6 ms). Of all networks the least latency on small "
            "(upper end) is 12.35 ms; the least latency on box (upper end) is 6.789 ms. Ask for "
            "that much, or use other donors.",
        ),
    ],
)
def test_a_refusal_names_the_target_that_is_in_the_way(budget: Budget, said: str) -> None:
    assert refusal(two_targets(), budget) == said


def test_budgets_that_only_clash_are_both_named() -> None:
    arcs = tuple(
        Arc(name, "in", "out", 0.7, (("latency_us", here), ("latency_us@box", there)))
        for name, here, there in (("a", 5_000.0, 9_000.0), ("b", 9_000.0, 5_000.0))
    )
    facts = {arc.id: ArcFacts(f"d{arc.id}") for arc in arcs}
    ask = question(Drawn(Problem("maximize", "in", "out", arcs), facts))
    budget = Budget(latency_us=6_000.0, elsewhere=(("box", 6_000.0),))

    said = refusal(replace(ask, here="small"), budget)

    assert "within 6 ms on small" in said
    assert "takes 9 ms (upper end): 16px db[" in said
    assert said.endswith("or change one of these: latency on box (upper end) 9 ms.")


@pytest.mark.parametrize(
    ("budget", "status", "said"),
    [
        (
            Budget(latency_us=12_345.0),
            "feasible",
            "No network of this zoo is predicted to run within 12.34 ms. The fastest possible "
            "takes at most 12.35 ms (upper end): 16px d[input..output]. Ask for that much, allow "
            "more stitches, or add faster donors.",
        ),
        (
            Budget(params=4),
            "feasible",
            "No network of this zoo is within the limits asked for (number of parameters 4). It is "
            "enough to change one of them: number of parameters 5.",
        ),
        (
            Budget(params=4, memory_bytes=1),
            "feasible",
            "No network of this zoo is within the limits asked for (number of parameters 4; peak "
            "memory 1 B). Time ran out before it was known whether each can be kept. Relax "
            "several.",
        ),
        (
            Budget(latency_us=12_345.0),
            "unknown",
            "No network of this zoo is within the limits asked for (latency (upper end) 12.34 ms). "
            "Time ran out before it was known whether each can be kept. Relax several.",
        ),
    ],
)
def test_a_refusal_claims_no_more_than_was_proven_in_time(
    budget: Budget, status: Status, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler.refusal.cheapest", out_of_time(status))

    assert refusal(question(one()), budget) == said
