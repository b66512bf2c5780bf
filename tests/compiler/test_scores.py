"""Scores in normal mode: similarity is solved exactly, proxies rank what is expected to be best."""

import pytest

from compiler.assembly import Assembly, Status, assemble, k_best
from compiler.belief import Belief
from compiler.closed_loop import ClosedLoop
from compiler.compatibility import StitchOption
from compiler.effort import Effort
from compiler.proxies import get_proxy
from compiler.proxy_order import proxy_batches
from compiler.scored_search import ScoredSearch, SimilarityOrder, best_of
from compiler.scores import FREELY_SCORED, SCORES, ScoredBench
from compiler.workbench import Workbench
from targets.budget import Budget
from targets.errors import DataError, InfeasibleError, UnknownNameError

WIDE = Budget(latency_us=1e6, stitches=1)


def similarity(bench: Workbench, answer: Assembly) -> float:
    """The sum over the stitches of a path, said once more."""
    steps = (step for _, step in bench.space.steps(answer.arcs))
    return sum(step.similarity for step in steps if isinstance(step, StitchOption))


@pytest.mark.parametrize("stitches", [0, 1, 2])
@pytest.mark.parametrize("share", [0.8, 1.0, 2.0])
def test_the_most_similar_network_within_the_limits_is_found(
    bench: Workbench, stitches: int, share: float
) -> None:
    slowest = max(whole.upper_us for whole in bench.latency_model.wholes.values())
    budget = Budget(latency_us=share * slowest, stitches=stitches)
    everything = k_best(bench.space.problem(budget, Belief().now), 5000)

    found = assemble(bench.space.by_similarity(budget, Belief().now))
    best = SimilarityOrder(bench.space).best(budget, Belief(), ())

    assert best is not None
    assert best.assembly.status == "optimal"
    assert best.score == best.assembly.bound == pytest.approx(found.objective, abs=1e-8)
    assert similarity(bench, best.assembly) == pytest.approx(best.score, abs=1e-8)
    scores = [similarity(bench, answer) for answer in everything]
    assert len(everything) < 5000
    assert found.objective == pytest.approx(max(scores), abs=1e-8)
    assert similarity(bench, found) == pytest.approx(max(scores), abs=1e-8)


def test_a_donor_left_whole_has_no_similarity(bench: Workbench) -> None:
    problem = bench.space.by_similarity(Budget(stitches=0), Belief().now)

    assert {answer.objective for answer in k_best(problem, 9)} == {0.0}


def test_the_search_by_similarity_tries_networks_in_its_order(bench: Workbench) -> None:
    scored = ScoredBench(bench, "similarity")
    loop = scored.loop(Belief())

    trials = loop.search(WIDE, Effort(3)).trials
    choice = scored.choice(trials[0], trials)

    assert isinstance(loop, ScoredSearch)
    assert len(trials) == 3
    scores = [trial.score for trial in trials]
    assert scores == [pytest.approx(similarity(bench, t.assembly), abs=1e-8) for t in trials]
    assert scores == sorted(scores, reverse=True)
    assert all(trial.candidate.blueprint.stitches for trial in trials)
    assert (choice.score, choice.value, choice.proven) == ("similarity", scores[0], True)
    assert (choice.enumerated, choice.complete) == (None, None)


def test_a_proxy_ranks_the_networks_of_highest_expectation(bench: Workbench) -> None:
    scored = ScoredBench(bench, "jacov")

    trials = scored.loop(Belief()).search(WIDE, Effort(2)).trials
    choice = scored.choice(trials[0], trials)

    expected = k_best(bench.space.problem(WIDE, Belief().now), FREELY_SCORED)
    scores = {}
    for answer in expected:
        network = bench.candidates.network(bench.space.blueprint(answer.arcs))
        images = bench.candidates.photographs.calibration
        batches = proxy_batches(images, network.preprocessing, seed=0)
        scores[answer.arcs] = get_proxy("jacov")(network, *batches)
    best = sorted(scores.values(), reverse=True)[:2]
    assert [trial.score for trial in trials] == best
    assert all(scores[trial.assembly.arcs] == trial.score for trial in trials)
    assert (choice.value, choice.enumerated) == (best[0], len(expected))
    assert choice.complete is (len(expected) < FREELY_SCORED)


def test_quality_is_chosen_by_the_closed_loop_and_compared_with_what_was_expected(
    bench: Workbench,
) -> None:
    scored = ScoredBench(bench, "quality")
    loop = scored.loop(Belief())

    trials = loop.search(WIDE, Effort(1)).trials
    choice = scored.choice(trials[0], trials)

    assert isinstance(loop, ClosedLoop)
    assert (choice.score, choice.value, choice.enumerated) == ("quality", trials[0].quality, None)


def test_limits_that_nothing_is_within_are_refused_with_the_fastest(bench: Workbench) -> None:
    loop = bench.loop(Belief())

    loop.require(WIDE)
    with pytest.raises(InfeasibleError, match="The fastest possible takes"):
        loop.require(Budget(latency_us=1.0, stitches=1))


def test_what_cannot_be_a_score_here_is_refused(bench: Workbench) -> None:
    assert {"quality", "similarity", "naswot", "synflow"} <= set(SCORES)
    with pytest.raises(UnknownNameError, match="Unknown score 'similarty'"):
        ScoredBench(bench, "similarty")
    with pytest.raises(DataError, match="The score 'snip' needs labels"):
        ScoredBench(bench, "snip")


def answer(status: Status, objective: float | None, bound: float | None) -> Assembly:
    arcs = () if objective is None else ("a",)
    return Assembly(status, arcs, objective, bound, None, (), 0.0, "solver", 0)


@pytest.mark.parametrize(
    ("parts", "status", "objective", "bound"),
    [
        ([answer("optimal", 1.0, 1.0), answer("optimal", 2.0, 2.0)], "optimal", 2.0, 2.0),
        ([answer("optimal", 1.0, 1.0), answer("infeasible", None, None)], "optimal", 1.0, 1.0),
        ([answer("optimal", 2.0, 2.0), answer("feasible", 1.0, 1.5)], "optimal", 2.0, 2.0),
        ([answer("optimal", 1.0, 1.0), answer("feasible", 0.5, 1.5)], "feasible", 1.0, 1.5),
        ([answer("optimal", 1.0, 1.0), answer("unknown", None, None)], "feasible", 1.0, None),
        ([answer("infeasible", None, None), answer("unknown", None, 3.0)], "unknown", None, 3.0),
        ([answer("infeasible", None, None)] * 2, "infeasible", None, None),
    ],
)
def test_the_best_of_parts_claims_no_more_than_they_prove(
    parts: list[Assembly], status: Status, objective: float | None, bound: float | None
) -> None:
    found = best_of(parts)

    assert (found.status, found.objective, found.bound) == (status, objective, bound)


@pytest.mark.parametrize(
    ("reached", "bound", "gap"), [(-1.0, 0.0, 1.0), (1.0, 2.0, 0.5), (-2.0, -1.0, 0.5)]
)
def test_the_gap_of_the_best_of_parts_is_that_of_every_answer(
    reached: float, bound: float, gap: float
) -> None:
    found = best_of([answer("feasible", reached, bound)])

    assert (found.status, found.bound, found.gap) == ("feasible", bound, gap)
