"""Time limits: the solver's own search stops in time, and claims no more than it has proven."""

import math
from dataclasses import replace
from random import Random

import pytest

from compiler import gap_search, path_search
from compiler.cpsat import UNDECIDED
from compiler.gap_search import GapSearch
from compiler.label_search import LabelSearch
from compiler.path_program import PathProgram
from compiler.path_search import PathSearch
from compiler.problem import Problem
from tests.compiler.solver_cases import chain_of, zoo

SEEDS = (1, 2, 4, 7)


def chain(seed: int) -> Problem:
    whole = chain_of(Random(seed), 14, 10, whole=1000)
    return replace(whole, limits=(("latency_us", 4000.0),))


@pytest.mark.parametrize("problem", [*map(chain, SEEDS), zoo(2, backward=True)])
def test_a_search_without_time_has_a_path_and_a_bound_but_no_proof(problem: Problem) -> None:
    program = PathProgram.of(problem)

    best = PathSearch(program, 0, 1).best(60, ())
    hasty = PathSearch(program, 0, 1).best(1e-12, ())

    assert best.proven
    assert not hasty.proven
    assert hasty.path is not None
    assert program.fits(hasty.path)
    assert hasty.bound is not None
    assert hasty.value <= best.value <= hasty.bound


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_listed_or_prepared_after_the_deadline(seed: int) -> None:
    program = PathProgram.of(chain(seed))
    given = program.arcs, program.values, program.rows, ()

    def search(deadline: float) -> LabelSearch:
        return LabelSearch(program.longest, *given, deadline)

    gap = GapSearch(program.ledger.graph, *given)
    assert gap.best(-math.inf, program.fits, 10**6, 0.0) is None
    assert search(0.0).best(-math.inf, program.fits, dominance=True) is None
    assert search(0.0).sweep(-math.inf) is None
    assert search(math.inf).best(-math.inf, program.fits, dominance=True) is not None
    assert search(math.inf).sweep(-math.inf) is not None


def test_the_best_path_met_before_time_ran_out_is_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The beam ends in time, the whole search and the integer program do not."""
    whole = LabelSearch._ended
    monkeypatch.setattr(gap_search, "FIRST_STEPS", 0)
    monkeypatch.setattr(path_search, "best_path", lambda *_: UNDECIDED)

    def values() -> list[int]:
        answers = [PathSearch(PathProgram.of(chain(seed)), 0, 1).best(60, ()) for seed in SEEDS]
        assert not any(answer.proven for answer in answers)
        return [answer.value for answer in answers]

    monkeypatch.setattr(LabelSearch, "_ended", lambda *_, **__: None)
    relaxed = values()
    monkeypatch.setattr(
        LabelSearch, "_ended", lambda *given, beam: whole(*given, beam=beam) if beam else None
    )
    met = values()

    assert all(one >= other for one, other in zip(met, relaxed, strict=True))
    assert met > relaxed


def test_a_path_that_was_banned_is_not_the_best_one_met(monkeypatch: pytest.MonkeyPatch) -> None:
    program = PathProgram.of(chain(1))
    first, second = (PathSearch(program, 0, 1) for _ in range(2))
    best = first.best(60, ()).path
    assert best is not None
    second.forbid(frozenset(best))
    next_best = second.best(60, ()).path
    assert next_best is not None

    def met(search: PathSearch) -> None:
        search._meets(next_best)

    first.forbid(frozenset(best))
    monkeypatch.setattr(PathSearch, "_list_best", met)
    monkeypatch.setattr(PathSearch, "_solve", lambda *_, **__: UNDECIDED)
    answer = first.best(60, ())

    assert answer.path == next_best
    assert not answer.proven
