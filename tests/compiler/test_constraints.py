"""Constraints: the program's answer is that of looking at all networks, one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.assembly import assemble, k_best
from compiler.constraints import ArcFacts, constrained
from compiler.gates import NO, YES, Gate, gated
from compiler.least_latency import QUALITY_LOST, least_latency
from compiler.problem import Arc, CountLimit, Problem
from targets.budget import Budget
from targets.errors import UsageError
from tests.compiler.constraint_cases import Drawn, budgets, drawn_problems


def network(arcs: tuple[str, ...]) -> list[str]:
    return [arc for arc in arcs if not arc.endswith((YES, NO))]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_answer_is_the_best_of_all_networks_within_the_budget(data: st.DataObject) -> None:
    drawn: Drawn = data.draw(drawn_problems())
    budget: Budget = data.draw(budgets(drawn.donors))

    answer = assemble(constrained(drawn.problem, budget, drawn.facts))

    allowed = [path for path in drawn.paths() if drawn.keeps(path, budget)]
    assert answer.status == ("optimal" if allowed else "infeasible")
    if not allowed:
        return
    if budget.min_quality is None:
        assert answer.objective == pytest.approx(max(map(drawn.quality, allowed)), abs=1e-7)
    else:
        assert answer.objective == min(drawn.cost(path, "latency_us") for path in allowed)
    chosen = next(p for p in drawn.paths() if [a.id for a in p] == network(answer.arcs))
    assert drawn.keeps(chosen, budget)
    if budget.memory_bytes is not None:
        assert answer.cost("memory_bytes") == drawn.memory(chosen)
    if budget.donors is not None and answer.cost("donors"):
        assert answer.cost("donors") == len(drawn.used(chosen))


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_network_has_one_path_through_all_gates(data: st.DataObject) -> None:
    drawn: Drawn = data.draw(drawn_problems(3))
    problem = constrained(drawn.problem, Budget(donors=3, memory_bytes=10**6), drawn.facts)

    answers = k_best(problem, 60)

    paths = list(drawn.paths())
    assert len(answers) == min(60, len(paths))
    assert len({tuple(network(answer.arcs)) for answer in answers}) == len(answers)


def test_as_many_donors_as_stitches_allow_need_no_gates() -> None:
    arcs = (Arc("a", "in", "out", 1.0),)
    problem = Problem("maximize", "in", "out", arcs)

    made = constrained(problem, Budget(stitches=1, donors=2), {"a": ArcFacts("d")})

    assert made.arcs == arcs
    assert made.limits == (("stitches", 1.0),)


def test_gates_are_arcs_and_counts_behind_the_network() -> None:
    problem = Problem("maximize", "in", "out", (Arc("a", "in", "out", 1.0),))

    made = gated(problem, [Gate("big", ("a",), (("memory_bytes", 5.0),))])

    assert made.sink == "big"
    assert made.arcs[1:] == (
        Arc("big yes", "out", "big", 0.0, (("memory_bytes", 5.0),)),
        Arc("big no", "out", "big", 0.0),
    )
    assert made.counts == (
        CountLimit(("big no", "a"), at_least=1),
        CountLimit(("a", "big no"), at_most=1),
    )
    assert gated(problem, []) is problem


def test_a_gate_that_is_called_like_a_boundary_is_refused() -> None:
    problem = Problem("maximize", "in", "out", (Arc("a", "in", "big", 1.0),))

    with pytest.raises(UsageError, match=r"a boundary 'big', and a gate is called so"):
        gated(problem, [Gate("big", ("a",), ())])


def test_what_is_lost_adds_up_to_the_best_quality_minus_the_paths() -> None:
    arcs = (
        Arc("good", "in", "m", 0.5, (("latency_us", 9.0),)),
        Arc("bad", "in", "m", 0.3, (("latency_us", 2.0),)),
        Arc("end", "m", "out", 0.25, (("latency_us", 1.0),)),
        Arc("lost", "nowhere", "m", 0.9),
    )

    made = least_latency(Problem("maximize", "in", "out", arcs), 0.6)

    lost = {arc.id: arc.cost(QUALITY_LOST) for arc in made.arcs}
    assert lost == {"good": 0.0, "bad": pytest.approx(0.2), "end": 0.0, "lost": 0.0}
    assert dict(made.limits)[QUALITY_LOST] == pytest.approx(0.15)
    assert [arc.score for arc in made.arcs] == [9.0, 2.0, 1.0, 0.0]
    assert assemble(made).arcs == ("good", "end")


def test_a_quality_that_no_network_promises_is_infeasible() -> None:
    problem = Problem("maximize", "in", "out", (Arc("a", "in", "out", 0.5),))

    answers = [assemble(least_latency(problem, least)).status for least in (0.5, 0.50001)]

    assert answers == ["optimal", "infeasible"]


def test_a_cycle_that_pays_is_refused() -> None:
    arcs = (Arc("a", "in", "m", 0.1), Arc("b", "m", "m", 0.1), Arc("c", "m", "out", 0.1))

    with pytest.raises(UsageError, match="a network gains nothing by repeating blocks"):
        least_latency(Problem("maximize", "in", "out", arcs), 0.5)


def test_without_arcs_nothing_is_promised() -> None:
    assert least_latency(Problem("maximize", "in", "out", ()), 0.5).arcs == ()
