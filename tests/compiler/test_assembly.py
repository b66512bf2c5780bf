"""The solver against enumeration: never over a budget, never below the best, always the same."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ortools.sat.python import cp_model

from compiler import path_search
from compiler.assembly import Assembly, assemble, cheapest, k_best
from compiler.cpsat import UNDECIDED, Answer, Effort, best_path
from compiler.flow_paths import FlowGraph
from compiler.integers import Grid
from compiler.problem import Arc, CountLimit, Problem
from targets.errors import UnknownNameError, UsageError

RESOURCES = ("latency_us", "memory_bytes")


def simple_paths(problem: Problem) -> Iterator[tuple[Arc, ...]]:
    """Every path from source to sink that visits no boundary twice."""

    def onward(node: str, seen: frozenset[str], path: tuple[Arc, ...]) -> Iterator[tuple[Arc, ...]]:
        if node == problem.sink:
            yield path
            return
        for arc in problem.arcs:
            if arc.tail == node and arc.head not in seen:
                yield from onward(arc.head, seen | {arc.head}, (*path, arc))

    yield from onward(problem.source, frozenset({problem.source}), ())


def is_allowed(problem: Problem, path: Sequence[Arc]) -> bool:
    within = all(cost(path, name) <= limit for name, limit in problem.limits)
    for count in problem.counts:
        used = sum(arc.id in count.arcs for arc in path)
        above = count.at_least is not None and used < count.at_least
        within = within and not above and (count.at_most is None or used <= count.at_most)
    return within


def cost(path: Sequence[Arc], resource: str) -> float:
    return math.fsum(arc.cost(resource) for arc in path)


def ranked(problem: Problem) -> list[tuple[Arc, ...]]:
    """All allowed paths, the best first: by score, then latency, then ids along the path."""
    sign = -1 if problem.sense == "maximize" else 1
    allowed = (path for path in simple_paths(problem) if is_allowed(problem, path))
    return sorted(
        allowed,
        key=lambda path: (
            # Sums of decimals: equal as written, whatever the order of addition.
            round(sign * math.fsum(arc.score for arc in path), 9),
            round(cost(path, "latency_us"), 9),
            [arc.id for arc in path],
        ),
    )


def ids(path: Sequence[Arc]) -> tuple[str, ...]:
    return tuple(arc.id for arc in path)


@st.composite
def small_problems(draw: st.DrawFn) -> Problem:
    """Up to 6 boundaries and 13 arcs: cycles, loops, parallel arcs, ties, tight and zero limits."""
    nodes = ["in", "out", *(f"n{index}" for index in range(draw(st.integers(0, 4))))]
    digits = draw(st.sampled_from([0, 1, 6]))
    number = st.integers(0, 4 * 10**digits).map(lambda steps: steps / 10**digits)
    score = st.integers(-3 * 10**digits, 9 * 10**digits).map(lambda steps: steps / 10**digits)
    costs = st.tuples(number, number).map(lambda pair: tuple(zip(RESOURCES, pair, strict=True)))
    # The first arcs form a path, so that many problems have an answer.
    spine = ["in", *nodes[2:], "out"]
    ends = list(pairwise(spine))
    ends += draw(st.lists(st.tuples(*[st.sampled_from(nodes)] * 2), max_size=8))
    names = draw(st.permutations([f"a{index}" for index in range(len(ends))]))
    arcs = tuple(
        Arc(name, *end, draw(score), draw(costs)) for name, end in zip(names, ends, strict=True)
    )
    limit = st.integers(0, 12 * 10**digits).map(lambda steps: steps / 10**digits)
    limits = draw(st.dictionaries(st.sampled_from(RESOURCES), limit))
    sets = st.lists(st.sampled_from(names), unique=True, max_size=5).map(tuple)
    most, least = st.integers(0, 3), st.none() | st.integers(0, 2)
    count = st.builds(CountLimit, sets, most, least)
    counts = tuple(draw(st.lists(count, max_size=2)))
    sense = draw(st.sampled_from(["maximize", "minimize"]))
    return Problem(sense, "in", "out", arcs, tuple(limits.items()), counts)


def chain(*choices: Sequence[tuple[float, float]], limit: float | None = None) -> Problem:
    """One boundary after the other; between two, parallel arcs of (score, latency)."""
    arcs = tuple(
        Arc(f"{step}.{index}", f"n{step}", f"n{step + 1}", score, (("latency_us", latency),))
        for step, options in enumerate(choices)
        for index, (score, latency) in enumerate(options)
    )
    limits = () if limit is None else (("latency_us", limit),)
    return Problem("maximize", "n0", f"n{len(choices)}", arcs, limits)


@settings(deadline=None, max_examples=300)
@given(small_problems())
def test_the_best_few_are_those_of_enumeration_ties_included(problem: Problem) -> None:
    expected = ranked(problem)[:4]

    answers = k_best(problem, 4)

    assert [answer.arcs for answer in answers] == [ids(path) for path in expected]
    assert all(answer.status == "optimal" for answer in answers)


@settings(deadline=None, max_examples=200)
@given(small_problems())
def test_an_answer_keeps_every_limit_and_reports_the_files_own_numbers(problem: Problem) -> None:
    by_id = {arc.id: arc for arc in problem.arcs}

    answer = assemble(problem)

    path = [by_id[name] for name in answer.arcs]
    assert answer.status == ("optimal" if ranked(problem) else "infeasible")
    if path:
        assert is_allowed(problem, path)
        assert answer.objective == math.fsum(arc.score for arc in path)
        assert answer.costs == tuple((name, cost(path, name)) for name in problem.resources)
        assert (answer.bound, answer.gap) == (answer.objective, 0.0)


@settings(deadline=None, max_examples=100)
@given(small_problems())
def test_the_cheapest_is_that_of_enumeration_without_its_limit(problem: Problem) -> None:
    others = tuple(pair for pair in problem.limits if pair[0] != "latency_us")
    expected = [cost(path, "latency_us") for path in ranked(replace(problem, limits=others))]

    answer = cheapest(problem, "latency_us")

    if expected:
        assert answer.objective == pytest.approx(min(expected), rel=1e-9)
    else:
        assert answer.status == "infeasible"


@settings(deadline=None, max_examples=50)
@given(small_problems(), st.randoms(use_true_random=False), st.integers(0, 2**31 - 1))
def test_neither_the_order_of_the_file_nor_the_seed_changes_the_answer(
    problem: Problem, random: Random, seed: int
) -> None:
    shuffled = replace(problem, arcs=tuple(random.sample(problem.arcs, len(problem.arcs))))

    first, second = assemble(problem), assemble(shuffled, seed=seed)

    assert first.arcs == second.arcs


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(0.5, 2.0), min_size=6, max_size=6),
    st.lists(st.floats(1e-3, 1e-2), min_size=6, max_size=6),
    st.floats(0.004, 0.03),
)
def test_numbers_with_all_their_digits_are_decided_as_by_enumeration(
    scores: list[float], latencies: list[float], limit: float
) -> None:
    pairs = list(zip(scores, latencies, strict=True))
    problem = chain(pairs[:2], pairs[2:4], pairs[4:], limit=limit)
    paths = [path for path in simple_paths(problem) if is_allowed(problem, path)]

    answer = assemble(problem)

    best = max((math.fsum(arc.score for arc in path) for path in paths), default=None)
    assert answer.objective == (best if best is None else pytest.approx(best, rel=1e-8))
    assert answer.cost("latency_us") <= limit


@pytest.mark.parametrize(
    ("latencies", "limit", "fits"),
    [
        ((1.5, 2.5), 4.0, True),
        ((0.1, 0.3), 0.4, True),
        ((0.1, 0.2), 0.3, False),  # as floats the sum is 0.30000000000000004
        ((1 / 3, 2 / 3), 1.0, True),
        ((1 / 3, 2 / 3), math.nextafter(1.0, 0.0), False),
        ((1e-300, 1e300), 1e300, True),
        ((0.0, 0.0), 0.0, True),
        ((0.0, 5e-324), 0.0, False),
        ((2.0**60, 2.0**60), 2.0**61, True),
    ],
)
def test_a_sum_that_equals_the_limit_fits_and_the_next_float_does_not(
    latencies: tuple[float, float], limit: float, fits: bool
) -> None:
    first, second = latencies
    problem = chain([(1.0, first)], [(1.0, second)], limit=limit)

    answer = assemble(problem)

    assert answer.status == ("optimal" if fits else "infeasible")
    assert (math.fsum(latencies) <= limit) == fits


def test_a_path_that_only_rounding_allows_is_passed_over_for_the_next_best() -> None:
    problem = chain([(2.0, 0.1), (1.0, 0.05)], [(2.0, 0.2)], limit=0.3)

    answer = assemble(problem)

    assert (answer.status, answer.arcs, answer.objective) == ("optimal", ("0.1", "1.0"), 3.0)


def test_where_too_many_paths_are_a_hair_too_long_the_answer_says_that_it_is_not_proven() -> None:
    options = [(1.0 + index, 1.0 + 1e-13 * index) for index in range(5)]
    problem = chain(*[options] * 6, limit=6.0)

    answer = assemble(problem)

    assert (answer.status, answer.arcs) == ("feasible", ("0.0", "1.0", "2.0", "3.0", "4.0", "5.0"))
    assert answer.bound is not None
    assert answer.objective is not None
    assert answer.bound > answer.objective == 6.0


def test_equal_scores_go_to_the_lower_latency_and_then_to_the_first_ids() -> None:
    problem = chain([(1.0, 3.0), (1.0, 2.0), (1.0, 2.0)], [(0.3, 2.0), (0.1, 1.0), (0.3, 2.0)])

    by_latency = assemble(problem)
    by_ids = assemble(problem, tie_break=None)

    assert by_latency.arcs == ("0.1", "1.0")
    assert by_ids.arcs == ("0.0", "1.0")


def test_ids_are_compared_from_the_source_on() -> None:
    ends = {"z": ("in", "m"), "a": ("m", "out"), "b": ("in", "n"), "y": ("n", "out")}
    arcs = tuple(Arc(name, *end, 1.0) for name, end in ends.items())

    answer = assemble(Problem("maximize", "in", "out", arcs))

    assert answer.arcs == ("b", "y")


def test_a_profitable_cycle_beside_the_path_is_not_part_of_the_answer() -> None:
    arcs = (
        Arc("through", "in", "out", 1.0),
        Arc("round", "p", "q", 50.0),
        Arc("back", "q", "p", 50.0),
        Arc("enter", "in", "p", -1.0),
        Arc("leave", "q", "out", -1.0),
    )

    answer = assemble(Problem("maximize", "in", "out", arcs))

    assert (answer.arcs, answer.objective) == (("enter", "round", "leave"), 48.0)


def test_forbidden_arc_sets_are_not_answered_again() -> None:
    problem = chain([(2.0, 1.0), (1.0, 1.0)], [(2.0, 1.0), (1.9, 1.0)])
    first = assemble(problem)

    second = assemble(problem, forbid=[frozenset(first.arcs)])
    without_an_arc = assemble(problem, forbid=[frozenset({"0.0"})])

    assert second.arcs == ("0.0", "1.1")
    assert without_an_arc.arcs == ("0.1", "1.0")


def test_all_paths_are_listed_once_when_more_are_asked_for() -> None:
    problem = chain([(2.0, 1.0), (1.0, 1.0)], [(2.0, 1.0), (1.5, 1.0)])

    answers = k_best(problem, 10)

    assert [answer.objective for answer in answers] == [4.0, 3.5, 3.0, 2.5]


def test_a_sink_that_nothing_reaches_is_infeasible() -> None:
    problem = Problem("maximize", "in", "out", (Arc("a", "in", "m", 1.0),))

    answer = assemble(problem)

    assert (answer.status, answer.found, answer.objective) == ("infeasible", False, None)
    assert k_best(problem, 3) == ()


def layered(donors: int, cuts: int) -> Problem:
    """Every donor's blocks in a row, with a stitch from every donor to the next two."""
    arcs = []
    for donor in range(donors):
        for cut in range(cuts):
            tail = "in" if cut == 0 else f"{donor}@{cut}"
            head = "out" if cut == cuts - 1 else f"{donor}@{cut + 1}"
            latency = 100.0 + (donor * 37 + cut * 11) % 53
            score = math.sqrt(latency) + ((donor * 13 + cut * 7) % 17) / 9
            arcs.append(Arc(f"b{donor}.{cut}", tail, head, score, (("latency_us", latency),)))
            for other in ((donor + 1) % donors, (donor + 2) % donors):
                if cut < cuts - 1:
                    end = "out" if cut == cuts - 2 else f"{other}@{cut + 2}"
                    costs = (("latency_us", 2 * latency),)
                    arcs.append(Arc(f"s{donor}.{cut}.{other}", head, end, score / 3, costs))
    return Problem("maximize", "in", "out", tuple(arcs), (("latency_us", 128.0 * cuts),))


def test_a_growing_core_gives_the_answer_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = layered(donors=9, cuts=6)
    whole = k_best(problem, 3)

    monkeypatch.setattr(path_search, "CORE", 4)
    grown = k_best(problem, 3)

    assert [answer.arcs for answer in grown] == [answer.arcs for answer in whole]
    assert len(whole) == 3


def test_several_workers_find_the_same_network() -> None:
    problem = layered(donors=5, cuts=5)

    assert assemble(problem, workers=2).arcs == assemble(problem).arcs


def test_when_time_runs_out_the_best_known_path_comes_with_a_bound() -> None:
    problem = layered(donors=9, cuts=6)
    best = assemble(problem)

    answer = assemble(problem, time_limit_s=1e-9)

    assert answer.status == "feasible"
    assert answer.objective is not None
    assert answer.bound is not None
    assert best.objective is not None
    assert answer.objective <= best.objective <= answer.bound
    assert answer.gap == pytest.approx((answer.bound - answer.objective) / answer.bound)
    assert len(k_best(problem, 3, time_limit_s=1e-9)) == 1


def test_when_time_runs_out_before_any_path_nothing_is_claimed() -> None:
    cycle = (Arc("a", "in", "m", 1.0), Arc("b", "m", "n", 1.0), Arc("c", "n", "m", 1.0))
    problem = Problem("maximize", "in", "out", (*cycle, Arc("d", "n", "out", 1.0)))

    answer = assemble(problem, time_limit_s=1e-9)

    assert (answer.status, answer.bound, answer.gap) == ("unknown", None, None)


def test_a_tie_break_that_is_not_finished_keeps_the_best_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = chain([(1.0, 2.0), (1.0, 1.0)])
    solve = path_search.best_path
    calls = []

    def only_once(*args: object, **options: object) -> Answer:
        calls.append(args)
        return solve(*args, **options) if len(calls) == 1 else UNDECIDED  # type: ignore[arg-type]

    monkeypatch.setattr(path_search, "best_path", only_once)
    answer = assemble(problem)

    assert (answer.status, answer.objective) == ("optimal", 1.0)


def test_an_answer_is_written_in_the_designs_keys_and_read_again() -> None:
    answer = assemble(chain([(12.5, 910.25)], limit=1000.0), seed=3)

    written = json.loads(answer.to_json())

    assert written == {
        "format": "derycc.assembly/1",
        "status": "optimal",
        "arcs": ["0.0"],
        "objective": 12.5,
        "bound": 12.5,
        "gap": 0.0,
        "costs": {"latency_us": 910.25},
        "wall_s": answer.wall_s,
        "solver": answer.solver,
        "seed": 3,
    }
    assert answer.solver.startswith("OR-tools CP-SAT 9.")
    assert Assembly.from_json(answer.to_json()) == answer


@settings(deadline=None, max_examples=30)
@given(small_problems())
def test_every_answer_survives_being_written(problem: Problem) -> None:
    answer = assemble(problem)

    assert Assembly.from_json(answer.to_json()) == answer


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"format": "derycc.assembly/1"}', '{"format": 1, "status": "x"}']
)
def test_text_that_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="derycc solve --json"):
        Assembly.from_json(text)


def test_arguments_that_make_no_sense_are_refused() -> None:
    problem = chain([(1.0, 1.0)])

    with pytest.raises(UsageError, match=r"The time limit is 0 s\. Give a positive number"):
        assemble(problem, time_limit_s=0)
    with pytest.raises(UsageError, match="Asked for 0 solver threads"):
        assemble(problem, workers=0)
    with pytest.raises(UsageError, match=r"The seed is -1\. Give a whole number from 0"):
        assemble(problem, seed=-1)
    with pytest.raises(UsageError, match="Asked for the 0 best networks"):
        k_best(problem, 0)
    with pytest.raises(UsageError, match="Asked to forbid the arc 'zz', but no arc has this id"):
        assemble(problem, forbid=[frozenset({"zz"})])
    with pytest.raises(UnknownNameError, match="Did you mean 'latency_us'"):
        cheapest(problem, "latency_ms")


def test_a_grid_is_exact_for_short_decimals_and_fine_for_long_ones() -> None:
    short, long, huge = Grid.over([0.1, 2.25]), Grid.over([1 / 3, 20.0]), Grid.over([1e300])
    thirds = np.array([1 / 3, 20.0])

    assert (short.exact, short.nearest(np.array([0.1, 2.25])).tolist()) == (True, [10, 225])
    assert (long.exact, long.down(thirds).tolist()) == (False, [33333333, 2 * 10**9])
    assert long.up(thirds).tolist() == [33333334, 2 * 10**9]
    assert (huge.exact, huge.nearest(np.array([1e300])).tolist(), huge.value(1)) == (
        True,
        [1],
        1e300,
    )


def test_a_solver_that_is_stopped_early_gives_its_path_and_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = FlowGraph(2, source=0, sink=1, tails=(0,) * 9, heads=(1,) * 9)
    values = {arc: 10 + arc for arc in range(9)}
    solver = cp_model.CpSolver()
    solver.parameters.stop_after_first_solution = True
    solver.parameters.cp_model_presolve = False
    monkeypatch.setattr(cp_model, "CpSolver", lambda: solver)

    answer = best_path(graph, range(9), values, [], [], Effort(60, 0, 1), hint=[0])

    assert not answer.proven
    assert (answer.path, answer.value) == ((0,), 10)
    assert answer.bound is None or answer.bound >= 18


def test_a_solver_that_has_no_time_decides_nothing() -> None:
    graph = FlowGraph(2, source=0, sink=1, tails=(0,) * 9, heads=(1,) * 9)

    answer = best_path(graph, range(9), {}, [], [], Effort(1e-12, 0, 1))

    assert answer == UNDECIDED


def test_without_time_a_problem_that_needs_a_detour_has_a_bound_but_no_path() -> None:
    problem = chain([(2.0, 1.0), (1.0, 1.0)], [(2.0, 1.0), (1.0, 1.0)])
    pair = CountLimit(("0.0", "1.0"), at_most=1)
    other = CountLimit(("0.1", "1.1"), at_most=0, at_least=1)

    answer = assemble(replace(problem, counts=(pair, other)), time_limit_s=1e-9)

    assert (answer.status, answer.objective, answer.gap) == ("unknown", None, None)
    assert answer.bound is not None


@pytest.mark.parametrize("long_first", [True, False])
def test_ties_of_paths_of_different_lengths_go_to_the_first_ids(long_first: bool) -> None:
    long, short = ("a", "b") if long_first else ("b", "a")
    nodes = ["in", "p", "q", "r", "out"]
    chain = [Arc(f"{long}{i}", nodes[i], nodes[i + 1], 0.0) for i in range(4)]
    step = [Arc(f"{short}0", "in", "s", 0.0), Arc(f"{short}1", "s", "out", 0.0)]

    answers = k_best(Problem("maximize", "in", "out", (*chain, *step)), 3)

    paths = [tuple(arc.id for arc in path) for path in (chain, step)]
    assert [answer.arcs for answer in answers] == sorted(paths)
