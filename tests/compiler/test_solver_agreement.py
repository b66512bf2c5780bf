"""The solver against the plain flow model, dynamic programming, and itself under other settings."""

from dataclasses import replace
from random import Random

import pytest

from compiler import gap_search, label_search, path_search
from compiler.assembly import assemble, cheapest, k_best
from compiler.plain_flow import plain_best
from compiler.problem import CountLimit, Problem
from tests.compiler.solver_cases import best_of_chain, chain_of, zoo


@pytest.mark.parametrize("backward", [False, True], ids=["onward", "with cycles"])
def test_stitched_zoos_are_solved_as_by_the_plain_flow_model(backward: bool) -> None:
    problems = [zoo(seed, donors=3 + seed % 5, backward=backward) for seed in range(60)]

    for problem in problems:
        answer, plain = assemble(problem), plain_best(problem)

        assert plain.proven
        if plain.objective is None:
            assert answer.status == "infeasible"
        else:
            assert answer.status == "optimal"
            assert answer.objective == pytest.approx(plain.objective, rel=1e-9)
            assert all(answer.cost(name) <= limit for name, limit in problem.limits)


@pytest.mark.parametrize("steps", [0, 1_000], ids=["by labels", "by listing"])
def test_chains_are_solved_as_by_dynamic_programming(
    monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr(gap_search, "FIRST_STEPS", steps)
    random = Random(steps)
    problems = [chain_of(random, 2 + case % 7, 1 + case % 5) for case in range(600)]

    answers = [assemble(problem).objective for problem in problems]

    assert answers == [best_of_chain(problem) for problem in problems]


@pytest.mark.parametrize("backward", [False, True], ids=["onward", "with cycles"])
def test_listing_and_the_integer_program_agree_ties_included(
    monkeypatch: pytest.MonkeyPatch, backward: bool
) -> None:
    random = Random(1)
    problems = [zoo(seed, backward=backward) for seed in range(12)]
    problems += [chain_of(random, 4, 4, whole=4) for _ in range(12)]
    listed = [[answer.arcs for answer in k_best(problem, 3)] for problem in problems]

    monkeypatch.setattr(gap_search, "STEPS", 0)
    monkeypatch.setattr(gap_search, "FIRST_STEPS", 0)
    labelled = [[answer.arcs for answer in k_best(problem, 3)] for problem in problems]
    monkeypatch.setattr(label_search, "LABELS", 0)
    decided = [[answer.arcs for answer in k_best(problem, 3)] for problem in problems]

    assert listed == labelled == decided


@pytest.mark.parametrize("listed", [5, 20, 80])
def test_a_core_that_grows_gives_the_same_paths(
    monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    problems = [zoo(seed, donors=6, cuts=5, backward=seed % 2 == 0) for seed in range(20)]
    random = Random(2)
    problems += [chain_of(random, 6, 6) for _ in range(20)]
    whole = [assemble(problem).arcs for problem in problems]

    monkeypatch.setattr(path_search, "CORE", 4)
    monkeypatch.setattr(path_search, "LISTED", listed)
    grown = [assemble(problem).arcs for problem in problems]

    assert grown == whole


def test_neither_workers_nor_repetition_change_the_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gap_search, "STEPS", 50)
    monkeypatch.setattr(gap_search, "FIRST_STEPS", 50)
    monkeypatch.setattr(label_search, "LABELS", 9)
    problems = [zoo(seed, donors=6, cuts=5, backward=seed % 2 == 0) for seed in range(6)]

    once, again = ([assemble(problem).arcs for problem in problems] for _ in range(2))
    with_two = [assemble(problem, workers=2).arcs for problem in problems]
    with_other_seed = [assemble(problem, seed=7).arcs for problem in problems]

    assert once == again == with_two == with_other_seed


def test_the_cheapest_is_the_tightest_limit_that_has_a_path() -> None:
    for seed in range(20):
        problem = zoo(seed)
        least = cheapest(problem, "latency_us")
        others = [pair for pair in problem.limits if pair[0] != "latency_us"]
        assert least.objective is not None

        at = replace(problem, limits=(("latency_us", least.objective), *others))
        below = replace(problem, limits=(("latency_us", least.objective * (1 - 1e-9)), *others))

        assert assemble(at).status == "optimal"
        assert assemble(below).status == "infeasible"


@pytest.mark.parametrize("distinct", [2, 3, 5])
def test_networks_that_differ_are_the_best_that_do(distinct: int) -> None:
    problem = _free(zoo(3, donors=4, cuts=3))
    paths = [(frozenset(each.arcs), each) for each in k_best(problem, 500)]
    expected: list[frozenset[str]] = []
    for arcs, _ in paths:  # the best first
        if all(len(arcs - earlier) >= distinct for earlier in expected):
            expected.append(arcs)

    answers = k_best(problem, 4, distinct=distinct)

    assert len(paths) < 500
    assert [frozenset(each.arcs) for each in answers] == expected[:4]


def test_one_differing_arc_is_what_makes_a_path_another() -> None:
    problem = _free(zoo(5))

    assert [each.arcs for each in k_best(problem, 6, distinct=1)] == [
        each.arcs for each in k_best(problem, 6)
    ]


def _free(problem: Problem) -> Problem:
    stitches = tuple(arc.id for arc in problem.arcs if ">" in arc.id)
    limits = tuple((name, 1.2 * limit) for name, limit in problem.limits)
    return replace(problem, limits=limits, counts=(CountLimit(stitches, at_most=2),))
