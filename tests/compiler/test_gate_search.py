"""Gates are lifted out of a problem, and the answers are those of the program with all its rows."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.assembly import Assembly, assemble, cheapest, k_best
from compiler.constraints import constrained
from compiler.front import front
from compiler.gate_search import GateSearch, search_for
from compiler.gates import NO, YES, Gate, gated
from compiler.lifted_gates import lifted
from compiler.path_program import PathProgram
from compiler.path_search import PathSearch
from compiler.problem import Arc, CountLimit, Problem
from targets.budget import Budget
from tests.compiler.constraint_cases import Drawn, budgets, drawn_problems


def gate(name: str, *opened_by: str, cost: float = 5.0) -> Gate:
    return Gate(name, opened_by, (("memory", cost),))


def small(*gates: Gate, limit: float = 9.0) -> Problem:
    """Two layers of two arcs each: `a0 a1` and `b0 b1`; better ones cost more."""
    arcs = [
        Arc(f"{layer}{choice}", tail, head, 1.0 + choice, (("memory", 1.0 + choice),))
        for layer, tail, head in (("a", "in", "x"), ("b", "x", "out"))
        for choice in (0, 1)
    ]
    problem = Problem("maximize", "in", "out", tuple(arcs), (("memory", limit),))
    return gated(problem, gates)


def test_gates_are_found_and_the_network_is_what_is_left() -> None:
    problem = small(gate("large", "a1", "b1"), gate("any", "a0", "large yes"))

    found = lifted(problem)

    assert found is not None
    assert [arc.id for arc in found.core.arcs] == ["a0", "a1", "b0", "b1"]
    assert (found.core.sink, found.core.counts, found.arcs) == ("out", (), (0, 1, 2, 3))
    opened = [{problem.arcs[i].id for i in g.opened_by} for g in found.gates]
    assert opened == [{"a1", "b1"}, {"a0", "a1", "b1"}]
    names = [(problem.arcs[g.yes].id, problem.arcs[g.no].id) for g in found.gates]
    assert names == [("large yes", "large no"), ("any yes", "any no")]


def test_counts_of_the_network_itself_stay_with_it() -> None:
    own = CountLimit(("a1", "b1"), at_most=1)
    problem = replace(small(gate("g", "a1")), counts=(own, *small(gate("g", "a1")).counts))

    found = lifted(problem)

    assert found is not None
    assert found.core.counts == (own,)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: replace(p, counts=p.counts[1:]),
        lambda p: replace(p, counts=p.counts[:-1]),
        lambda p: replace(p, counts=(*p.counts, CountLimit(("g no", "b0"), at_most=2))),
        lambda p: replace(p, counts=(*p.counts, CountLimit(("g yes", "b0"), at_most=1))),
        lambda p: replace(p, counts=(replace(p.counts[0], at_least=2), *p.counts[1:])),
        lambda p: replace(p, arcs=(*p.arcs[:-1], replace(p.arcs[-1], score=0.5))),
        lambda p: replace(p, arcs=(*p.arcs[:-1], replace(p.arcs[-1], costs=(("memory", 1.0),)))),
        lambda p: replace(p, arcs=(*p.arcs[:-2], replace(p.arcs[-2], score=0.5), p.arcs[-1])),
        lambda p: replace(p, arcs=(*p.arcs, Arc("third", "out", "g", 0.0))),
        lambda p: replace(p, arcs=(*p.arcs, Arc("beside", "x", "g", 0.0))),
        lambda p: replace(p, arcs=(*p.arcs, Arc("back", "g", "x", 0.0))),
    ],
)
def test_what_only_looks_like_a_gate_is_no_gate(spoil: object) -> None:
    assert callable(spoil)
    assert lifted(small(gate("g", "a1"))) is not None

    assert lifted(spoil(small(gate("g", "a1")))) is None


def test_a_problem_without_gates_is_searched_as_it_is() -> None:
    assert isinstance(search_for(small(), 0, 1), PathSearch)
    assert isinstance(search_for(small(gate("g", "a1")), 0, 1), GateSearch)


def test_an_answer_passes_the_gates_that_its_arcs_open_and_pays_for_them() -> None:
    problem = small(gate("g", "a1"), gate("h", "b1"), limit=8.0)

    answer = assemble(problem)

    assert answer.arcs == ("a0", "b1", "g no", "h yes")
    assert (answer.status, answer.objective, answer.cost("memory")) == ("optimal", 3.0, 8.0)


def test_where_no_gate_can_be_paid_for_nothing_fits() -> None:
    answer = assemble(small(gate("g", "a0", "a1"), limit=6.5))

    assert (answer.status, answer.arcs) == ("infeasible", ())


def test_a_network_that_is_forbidden_is_not_found_again() -> None:
    problem = small(gate("g", "a1"), gate("h", "b1"), limit=20.0)

    found = k_best(problem, 9)

    assert [answer.arcs[:2] for answer in found] == [
        ("a1", "b1"),
        ("a0", "b1"),
        ("a1", "b0"),
        ("a0", "b0"),
    ]


@pytest.mark.parametrize("forbidden", [{"g yes"}, {"b1", "g no"}])
def test_a_part_of_a_network_with_gates_can_be_forbidden(forbidden: set[str]) -> None:
    problem = small(gate("g", "a1"), limit=20.0)

    answer = assemble(problem, forbid=[frozenset(forbidden)])

    assert answer.objective == {1: 3.0, 2: 4.0}[len(forbidden)]
    assert not forbidden <= set(answer.arcs)


def test_networks_that_differ_in_many_arcs_count_gates_as_arcs() -> None:
    problem = small(gate("g", "a1"), limit=20.0)

    found = k_best(problem, 3, distinct=3)

    assert [answer.arcs for answer in found] == [("a1", "b1", "g yes"), ("a0", "b0", "g no")]


def test_less_of_what_gates_cost_can_be_what_breaks_ties_or_is_looked_for() -> None:
    arcs = tuple(Arc(name, "in", "out", 1.0, (("memory", 1.0),)) for name in ("dear", "plain"))
    problem = gated(Problem("maximize", "in", "out", arcs), [gate("g", "dear")])

    assert assemble(problem, tie_break=None).arcs[0] == "dear"
    assert assemble(problem, tie_break="memory").arcs[0] == "plain"
    assert cheapest(problem, "memory").arcs == ("plain", "g no")


class Clock:
    """A clock that goes on by a second whenever it is read, so that time runs out at one place."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


def stopped(problem: Problem, ticks: int, forbid: Sequence[frozenset[str]] = ()) -> Assembly:
    """The answer when the clock has been read so many times."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for module in ("assembly", "gate_search", "path_search"):
            patch.setattr(f"compiler.{module}.time", clock)
        return assemble(problem, time_limit_s=ticks + 0.5, forbid=forbid)


def test_what_was_found_before_time_ran_out_is_the_answer() -> None:
    gates = (gate("g", "a1", cost=2.0), gate("h", "b1", cost=3.0), gate("k", "a1", "b1", cost=1.0))
    problem = small(*gates, limit=8.0)
    assert assemble(problem).objective == 3.0

    found = [stopped(problem, ticks) for ticks in range(1, 30)]

    unproven = [answer for answer in found if answer.status == "feasible"]
    assert unproven
    assert found[-1].status == "optimal"
    assert {answer.status for answer in found} <= {"optimal", "feasible", "unknown"}
    for answer in unproven:
        assert answer.cost("memory") <= 8.0
        assert (answer.objective or 9.0) <= 3.0 <= (answer.bound or 0.0)


@given(data=st.data(), ticks=st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_however_little_time_there_is_no_claim_is_wrong(data: st.DataObject, ticks: int) -> None:
    drawn: Drawn = data.draw(drawn_problems())
    budget = replace(data.draw(budgets(drawn.donors)), min_quality=None)
    budget = replace(budget, memory_bytes=data.draw(st.integers(10, 45)), stitches=2, donors=2)
    problem = constrained(drawn.problem, budget, drawn.facts)
    kept = [path for path in drawn.paths() if drawn.keeps(path, budget)]
    best = max((drawn.quality(path) for path in kept), default=None)

    answer = stopped(problem, ticks)

    if answer.found:
        network = [name for name in answer.arcs if name in drawn.facts]
        assert network in [[arc.id for arc in path] for path in kept]
        assert best is not None
        assert answer.status == "feasible" or answer.objective == pytest.approx(best)
    else:
        assert answer.status == "unknown" or best is None
    if answer.bound is not None and best is not None:
        assert answer.bound >= best - 1e-9
    if ticks == 40:
        assert answer.status in ("optimal", "infeasible")


def rows(problem: Problem) -> PathSearch:
    """The same problem, gates left in."""
    return PathSearch(PathProgram.of(problem), 0, 1)


def worth(search: GateSearch | PathSearch, times: int) -> list[tuple[object, ...]]:
    """The best answers in turn: arcs, value and proof."""
    found: list[tuple[object, ...]] = []
    for _ in range(times):
        answer = search.best(60.0, ("latency_us",))
        found.append((answer.path, answer.value, answer.proven))
        if answer.path is None:
            break
        search.forbid(frozenset(answer.path))
    return found


@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_with_gates_apart_the_answers_are_the_same_arc_by_arc(data: st.DataObject) -> None:
    drawn: Drawn = data.draw(drawn_problems())
    budget: Budget = data.draw(budgets(drawn.donors))
    budget = replace(budget, memory_bytes=data.draw(st.integers(15, 45)), stitches=2, donors=1)
    problem = constrained(drawn.problem, budget, drawn.facts)
    apart = search_for(problem, 0, 1)

    assert isinstance(apart, GateSearch) or not lifted(problem)
    assert worth(apart, 4) == worth(rows(problem), 4)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_front_with_gates_is_that_of_single_solves(data: st.DataObject) -> None:
    drawn: Drawn = data.draw(drawn_problems())
    budget = Budget(latency_us=40, memory_bytes=data.draw(st.integers(20, 60)))
    problem = constrained(drawn.problem, budget, drawn.facts)

    found = front(problem, "latency_us", 3.0, 40.0).points

    for point in found:
        single = assemble(replace(problem, limits=_limited(problem.limits, point.limit)))
        assert point.assembly.objective == single.objective
        assert point.assembly.status == "optimal"
    scores = [point.assembly.objective or 0.0 for point in found]
    assert scores == sorted(scores)


def _limited(limits: Sequence[tuple[str, float]], latency: float) -> tuple[tuple[str, float], ...]:
    return tuple((n, latency if n == "latency_us" else limit) for n, limit in limits)


def test_names_are_no_part_of_what_a_gate_is() -> None:
    problem = small(gate("g", "a1"), limit=8.0)
    called = {"g" + YES: "open", "g" + NO: "shut"}
    arcs = tuple(replace(arc, id=called.get(arc.id, arc.id)) for arc in problem.arcs)
    counts = tuple(replace(c, arcs=tuple(called.get(n, n) for n in c.arcs)) for c in problem.counts)

    assert lifted(replace(problem, arcs=arcs, counts=counts)) is not None
