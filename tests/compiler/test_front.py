"""The front: monotone, complete, and each point the single solve at its budget."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from compiler import path_search
from compiler.assembly import assemble, cheapest
from compiler.cpsat import UNDECIDED, Answer
from compiler.front import FrontPoint, SolvedFront, front
from compiler.path_program import PathProgram
from compiler.path_search import PathSearch
from compiler.problem import Arc, Problem, Sense
from targets.errors import UnknownNameError, UsageError
from tests.compiler.solver_cases import chain_of, zoo

LATENCY = "latency_us"


def within(problem: Problem, limit: float) -> Problem:
    others = tuple(pair for pair in problem.limits if pair[0] != LATENCY)
    return replace(problem, limits=(*others, (LATENCY, limit)))


def span(problem: Problem) -> tuple[float, float]:
    """The least latency, and that of the best path."""
    free = within(problem, 1e9)
    return cheapest(free, LATENCY).cost(LATENCY), assemble(free).cost(LATENCY)


def objectives(points: tuple[FrontPoint, ...]) -> list[float]:
    return [point.assembly.objective or 0.0 for point in points]


def steps(*pairs: tuple[float, float]) -> Problem:
    """Parallel arcs of (score, latency)."""
    arcs = [Arc(f"a{i}", "in", "out", s, ((LATENCY, t),)) for i, (s, t) in enumerate(pairs)]
    return Problem("maximize", "in", "out", tuple(arcs))


@pytest.mark.parametrize("seed", range(24))
def test_every_point_is_the_single_solve_at_its_budget(seed: int) -> None:
    problem = zoo(seed, donors=5, backward=seed % 4 == 0)

    points = front(problem, LATENCY, *span(problem), points=9).points

    assert len(points) == 9
    for point in points:
        assert point.assembly.arcs == assemble(within(problem, point.limit)).arcs
        assert point.assembly.cost(LATENCY) <= point.limit
    assert objectives(points) == sorted(objectives(points))


@pytest.mark.parametrize("seed", range(12))
def test_all_pareto_optimal_answers_are_found_and_no_other(seed: int) -> None:
    problem = zoo(seed, donors=4)
    low, high = span(problem)

    points = front(problem, LATENCY, low, high).points

    assert [point.limit for point in points] == [p.assembly.cost(LATENCY) for p in points]
    assert all(a < b for a, b in pairwise(objectives(points)))
    assert all(a.limit < b.limit for a, b in pairwise(points))
    budgets = [low + (high - low) * share / 40 for share in range(41)]
    for budget in budgets:
        expected = [point for point in points if point.limit <= budget][-1]
        assert assemble(within(problem, budget)).objective == expected.assembly.objective


@pytest.mark.parametrize("whole", [5, 60])
def test_all_budgets_of_a_chain_are_prepared_at_once_with_the_same_answers(whole: int) -> None:
    for seed in range(12):
        problem = chain_of(Random(seed), 5, 4, whole=whole)
        high = sum(limit for _, limit in problem.limits)

        points = front(problem, LATENCY, 0.0, high, points=15).points
        every = front(problem, LATENCY, 0.0, high).points

        assert bool(points) == (assemble(within(problem, high)).status == "optimal")
        for point in points:
            assert point.assembly.arcs == assemble(within(problem, point.limit)).arcs
        best = {point.limit: point.assembly.objective for point in every}
        for point in points:
            below = max(limit for limit in best if limit <= point.limit)
            assert best[below] == point.assembly.objective


def test_chains_with_all_their_digits_have_the_fronts_of_single_solves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = Random(4)
    pairs = [(random.random(), random.random()) for _ in range(40)]
    arcs = tuple(
        Arc(f"{i}", f"n{i // 4}", f"n{i // 4 + 1}", score, ((LATENCY, 1e3 * latency),))
        for i, (score, latency) in enumerate(pairs)
    )
    problem = Problem("maximize", "n0", "n10", arcs)

    prepared = front(problem, LATENCY, *span(problem)).points
    monkeypatch.setattr(path_search, "SWEPT", 0)
    one_by_one = front(problem, LATENCY, *span(problem)).points

    assert len(prepared) > 20
    assert [point.assembly.arcs for point in prepared] == [
        point.assembly.arcs for point in one_by_one
    ]


def test_a_front_is_written_out() -> None:
    problem = steps((1.0, 5.0), (3.0, 8.0), (2.0, 9.0), (4.0, 20.0), (4.0, 21.0), (9.0, 40.0))

    found = front(problem, LATENCY, 6.0, 30.0).points
    spaced = front(problem, LATENCY, 0.0, 30.0, points=4).points

    assert [(point.limit, point.assembly.objective) for point in found] == [
        (5.0, 1.0),
        (8.0, 3.0),
        (20.0, 4.0),
    ]
    assert [(point.limit, point.assembly.objective) for point in spaced] == [
        (10.0, 3.0),
        (20.0, 4.0),
        (30.0, 4.0),
    ]


def test_a_front_of_what_is_to_be_small_falls() -> None:
    problem = replace(steps((1.0, 9.0), (3.0, 5.0)), sense="minimize")

    assert objectives(front(problem, LATENCY, 0.0, 10.0).points) == [3.0, 1.0]


def test_a_budget_of_nothing_and_one_budget_are_fronts_too() -> None:
    problem = steps((1.0, 0.0), (3.0, 5.0))

    assert objectives(front(problem, LATENCY, 0.0, 0.0).points) == [1.0]
    assert objectives(front(problem, LATENCY, 0.0, 9.0, points=1).points) == [3.0]


def test_a_front_below_what_is_possible_is_empty() -> None:
    problem = steps((1.0, 5.0))

    assert front(problem, LATENCY, 0.0, 4.0) == SolvedFront((), None)
    assert front(problem, LATENCY, 0.0, 4.0, points=3) == SolvedFront((), None)


def test_when_time_runs_out_the_last_point_is_not_called_proven() -> None:
    problem = zoo(2, donors=6)
    low, high = span(problem)

    found = front(problem, LATENCY, low, high, time_limit_s=1e-9)

    assert [point.assembly.status for point in found.points] == ["feasible"]
    assert not found.proven
    assert found.below is not None
    assert low <= found.below < found.points[0].limit


class Interrupted(PathSearch):
    """A search that has time for so many answers, and then for none."""

    left = 2

    def best(self, seconds: float, ties: Sequence[str]) -> Answer:
        if self.left == 0:
            return UNDECIDED
        self.left -= 1
        return super().best(seconds, ties)


@pytest.mark.parametrize("points", [None, 9])
def test_what_was_proven_before_time_ran_out_is_kept_and_the_rest_is_left_open(
    points: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = zoo(2, donors=6)
    low, high = span(problem)
    whole = front(problem, LATENCY, low, high, points=points)
    monkeypatch.setattr(
        "compiler.front.search_for", lambda p, s, w: Interrupted(PathProgram.of(p), s, w)
    )

    found = front(problem, LATENCY, low, high, points=points)

    assert whole.proven
    assert not found.proven
    assert 2 <= len(found.points) < len(whole.points)
    arcs = [point.assembly.arcs for point in whole.points]
    assert [point.assembly.arcs for point in found.points] == arcs[-len(found.points) :]
    assert found.below is not None
    assert whole.points[-len(found.points) - 1].limit <= found.below < found.points[0].limit


class Poor(PathSearch):
    """A search that answers one arc after the other, without proof, and then nothing."""

    answers = 0
    known = 2

    def best(self, seconds: float, ties: Sequence[str]) -> Answer:
        self.answers += 1
        if self.answers > self.known:
            return UNDECIDED
        path = (self.answers - 1,)
        return Answer(path, self.program.value(path), None, proven=False)


@pytest.mark.parametrize("sense", ["maximize", "minimize"])
def test_a_point_without_proof_has_the_best_path_known_that_fits(
    sense: Sense, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = 1.0 if sense == "maximize" else -1.0
    problem = replace(steps((sign, 1.0), (2 * sign, 2.0), (3 * sign, 3.0)), sense=sense)
    monkeypatch.setattr("compiler.front.search_for", lambda p, s, w: Poor(PathProgram.of(p), s, w))

    found = front(problem, LATENCY, 0.0, 4.0, points=5)

    points = [(point.limit, point.assembly.arcs, point.assembly.status) for point in found.points]
    assert points == [
        (1.0, ("a0",), "feasible"),
        (2.0, ("a1",), "feasible"),
        (3.0, ("a1",), "feasible"),
        (4.0, ("a1",), "feasible"),
    ]
    assert found.below == 0.0
    assert not found.proven


@pytest.mark.parametrize("seconds", [1e-9, 1e-3, 5e-3, 0.02, 0.1])
@pytest.mark.parametrize("seed", [2, 3, 5])
def test_a_front_never_falls_whatever_the_time_limit(seed: int, seconds: float) -> None:
    problem = zoo(seed, donors=6)

    found = front(problem, LATENCY, *span(problem), points=12, time_limit_s=seconds)

    assert objectives(found.points) == sorted(objectives(found.points))
    for point in found.points:
        assert point.assembly.cost(LATENCY) <= point.limit
        bound, reached = point.assembly.bound, point.assembly.objective
        assert bound is None or (reached is not None and bound >= reached)


def test_budgets_that_make_no_sense_are_refused() -> None:
    problem = steps((1.0, 5.0))

    with pytest.raises(UsageError, match=r"budgets are 3\.0 to 2\.0\. Give two finite numbers"):
        front(problem, LATENCY, 3.0, 2.0)
    with pytest.raises(UsageError, match="Asked for 0 points of the front"):
        front(problem, LATENCY, 1.0, 2.0, points=0)
    with pytest.raises(UnknownNameError, match="Unknown resource 'latency'"):
        front(problem, "latency", 1.0, 2.0)
