"""Scored search: the best score that keeps the budget is chosen, whatever its quality."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from compiler import scored_search
from compiler.assembly import Assembly, assemble
from compiler.belief import Belief
from compiler.candidates import Candidate
from compiler.dissection import Dissection
from compiler.effort import Effort
from compiler.judged import Judged
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.problem import Problem
from compiler.progress import Silent
from compiler.quality import Quality
from compiler.scored_search import ScoredSearch, SimilarityOrder, rank_correlation
from compiler.trial import Trial
from profilers.measurement import Measurement
from targets.budget import Budget
from targets.errors import InfeasibleError, UndecidedError
from tests.compiler.dery_cases import Case, partition_of

Toys = tuple[Dissection, Dissection]
ALIKE = [[2.0, 0.5], [1.0, 2.0]]
"""Narrow's first block and wide's second are the anchors: together they score 4."""


@dataclass
class Pretended:
    """Candidates that nobody builds, of a quality; latency in microseconds by rule."""

    latency: Callable[[Blueprint], float]
    quality: float = 0.3
    built: list[str] = field(default_factory=list)

    def make(self, blueprint: Blueprint) -> Candidate:
        self.built.append(" ".join(blueprint.donors))
        seconds = self.latency(blueprint) * 1e-6
        judged = Quality(50, self.quality, None, 0.5)
        measured = Measurement("key", str(blueprint), ((seconds,) * 3,), (0.0,), False)
        return Candidate(blueprint, None, Path(), Judged(judged, judged), measured)  # type: ignore[arg-type]


def search_of(toys: Toys, candidates: Pretended, belief: Belief | None = None) -> ScoredSearch:
    case = Case(toys, partition_of(toys, [(2,), (2,)], [[0, 1], [0, 1]], ALIKE))
    made: Any = candidates
    space = case.space
    return ScoredSearch(space, SimilarityOrder(space, 1), made, belief or Belief(), Silent())


def test_networks_are_tried_in_the_order_of_their_score(toys: Toys) -> None:
    candidates = Pretended(lambda _: 60.0)

    trials = search_of(toys, candidates).search(Budget(latency_us=100.0)).trials

    assert candidates.built == ["narrow wide", "wide", "narrow", "wide narrow"]
    assert [trial.score for trial in trials] == pytest.approx([4.0, 3.0, 2.5, 1.5])
    assert [trial.order for trial in trials] == [0, 1, 2, 3]
    assert {trial.assembly.seed for trial in trials} == {1}
    assert [trial.expected for trial in trials[1:3]] == pytest.approx([0.7, 0.5])


def test_the_choice_is_the_best_score_that_keeps_the_budget(toys: Toys) -> None:
    candidates = Pretended(lambda b: 130.0 if b.donors == ("narrow", "wide") else 60.0)

    trials = search_of(toys, candidates).search(Budget(latency_us=100.0), Effort(2)).trials

    assert [(trial.candidate.blueprint.donors, trial.within) for trial in trials] == [
        (("wide",), True),
        (("narrow", "wide"), False),
    ]


def test_what_stitches_cost_is_learned_on_the_way(toys: Toys) -> None:
    belief = Belief()
    candidates = Pretended(lambda b: 150.0 if b.stitches else 60.0)

    search_of(toys, candidates, belief).search(Budget(latency_us=100.0))

    assert candidates.built == ["narrow wide", "wide", "narrow"]
    assert belief.residual.median_us == pytest.approx(150.0 - 81.0)
    assert len(belief.observations) == 1


def test_a_search_goes_on_from_its_earlier_trials(toys: Toys) -> None:
    candidates = Pretended(lambda _: 60.0)
    search = search_of(toys, candidates)

    first = search.search(Budget(), Effort(1)).trials
    both = search.search(Budget(), Effort(2), before=first).trials

    assert candidates.built == ["narrow wide", "wide"]
    assert [trial.score for trial in both] == [4.0, 3.0]
    assert search.search(Budget(), Effort(2), before=both).trials == both


def test_a_search_without_anything_to_try_is_refused(toys: Toys) -> None:
    with pytest.raises(InfeasibleError, match=r"There is no network within the limits\."):
        search_of(toys, Pretended(lambda _: 60.0)).search(Budget(latency_us=1.0))


def test_a_search_without_time_to_find_anything_is_undecided(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered(problem: Problem, **options: Any) -> Assembly:
        found = assemble(problem, **options)
        return replace(found, status="unknown", arcs=(), objective=None, bound=None, costs=())

    monkeypatch.setattr(scored_search, "assemble", unanswered)

    with pytest.raises(UndecidedError, match="in 60 s, and no proof") as refused:
        search_of(toys, Pretended(lambda _: 60.0)).search(Budget())

    assert "--build-seconds" not in str(refused.value)
    assert refused.value.exit_code == 2


def trial_of(score: float, quality: float) -> Trial:
    candidate = Pretended(lambda _: 1.0, quality).make(Blueprint.pure("one", 16))
    return Trial(None, Interval(1.0, 1.0), quality, candidate, True, 0, score)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pairs", "correlation"),
    [
        ([(1.0, 0.1), (2.0, 0.5), (9.0, 0.6)], 1.0),
        ([(1.0, 0.6), (2.0, 0.5), (9.0, 0.1)], -1.0),
        ([(float("-inf"), 0.2), (2.0, 0.1), (9.0, 0.6)], 0.5),
        ([(1.0, 0.1), (2.0, 0.5)], None),
        ([(1.0, 0.1), (1.0, 0.5), (1.0, 0.6)], None),
        ([(1.0, 0.3), (2.0, 0.3), (9.0, 0.3)], None),
    ],
)
def test_the_score_is_compared_with_measured_quality_by_ranks(
    pairs: list[tuple[float, float]], correlation: float | None
) -> None:
    found = rank_correlation([trial_of(*pair) for pair in pairs])

    assert found == (None if correlation is None else pytest.approx(correlation))
