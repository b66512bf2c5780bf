"""Closed loop: measurements decide and correct, and refusals say what is possible."""

from typing import Any

import pytest

from compiler import closed_loop
from compiler.assembly import Assembly, assemble
from compiler.belief import Belief
from compiler.closed_loop import PATIENCE
from compiler.drop_model import DropModel
from compiler.effort import Effort
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.problem import Problem
from compiler.workbench import Workbench
from targets.amounts import enough_text
from targets.budget import Budget
from targets.errors import InfeasibleError
from tests.compiler.loop_cases import Pretended, Toys, by_stitches, loop_of, space_of


def test_a_donor_that_keeps_its_promise_ends_the_search_at_once(toys: Toys) -> None:
    loop = loop_of(space_of(toys), Pretended(lambda _: 0.7, lambda _: 100.0))

    (trial,) = loop.search(Budget(latency_us=120.0)).trials

    assert trial.candidate.blueprint == Blueprint.pure("wide", 16)
    assert (trial.within, trial.quality, trial.expected) == (True, 0.7, pytest.approx(0.7))
    assert trial.predicted == Interval(pytest.approx(100.0), pytest.approx(100.0))


def test_stitches_that_are_slower_than_predicted_are_charged_for(toys: Toys) -> None:
    belief = Belief()
    space = space_of(toys)
    candidates = Pretended(by_stitches(0.5, 0.6), by_stitches(50.0, 130.0))

    trials = loop_of(space, candidates, belief).search(Budget(latency_us=95.0)).trials

    best, *others = trials
    assert (best.candidate.blueprint, best.within) == (Blueprint.pure("narrow", 16), True)
    assert others
    assert not any(trial.within for trial in others)
    assert len(belief.residuals) == len(belief.observations) == len(others)
    assert belief.residual.median_us > 20.0


def test_quality_that_stitches_really_cost_is_learned(toys: Toys) -> None:
    belief = Belief()
    candidates = Pretended(by_stitches(0.5, 0.1), by_stitches(50.0, 60.0))

    trials = loop_of(space_of(toys), candidates, belief).search(Budget(latency_us=95.0)).trials

    stitched = [trial for trial in trials if trial.candidate.blueprint.stitches]
    asked = next(iter(belief.observations.values()))
    assert belief.drops.expected(asked) > DropModel().expected(asked)
    assert belief.drops.observations == len(stitched) > 0
    assert all(seen.drop > 0.3 for seen in belief.observations.values())


def test_the_search_ends_after_some_candidates_without_gain(toys: Toys) -> None:
    seen: list[Blueprint] = []

    def quality(blueprint: Blueprint) -> float:
        seen.append(blueprint)
        return 0.4 if len(seen) == 1 else 0.3

    trials = (
        loop_of(space_of(toys), Pretended(quality, lambda _: 10.0))
        .search(Budget(), Effort(20))
        .trials
    )

    assert len(trials) == 1 + PATIENCE
    assert len(set(seen)) == len(seen)
    assert trials[0].quality == 0.4


def test_candidates_are_tried_until_they_are_used_up_if_none_is_within(toys: Toys) -> None:
    candidates = Pretended(lambda _: 0.7, lambda _: 500.0)

    trials = loop_of(space_of(toys), candidates).search(Budget(latency_us=120.0), Effort(3)).trials

    assert [trial.within for trial in trials] == [False] * 3


def test_the_search_ends_where_there_is_nothing_left_to_try(toys: Toys) -> None:
    candidates = Pretended(lambda _: 0.1, lambda _: 500.0)
    limits = Budget(latency_us=120.0, stitches=0)

    trials = loop_of(space_of(toys), candidates).search(limits).trials

    assert {trial.candidate.blueprint for trial in trials} == {
        Blueprint.pure("narrow", 16),
        Blueprint.pure("wide", 16),
    }


def test_of_equally_good_networks_the_one_that_agrees_and_then_the_faster_one_leads(
    toys: Toys,
) -> None:
    candidates = Pretended(lambda _: 0.3, lambda b: 90.0 if b.stitches else 80.0)

    trials = loop_of(space_of(toys), candidates).search(Budget(latency_us=95.0), Effort(4)).trials

    latencies = [trial.candidate.latency.median_us for trial in trials]
    assert latencies == sorted(latencies)


def test_a_residual_is_the_median_and_the_upper_quartile_of_what_was_seen() -> None:
    belief = Belief()
    before = belief.residual

    seen = [Interval(-1.0, 2.0), Interval(5.0, 9.0), Interval(3.0, 3.0)]
    belief.residuals |= {Blueprint.pure(f"m{i}", 16): value for i, value in enumerate(seen)}

    assert before == Interval(0.0, 0.0)
    assert belief.residual == Interval(3.0, 6.0)


def test_an_absurd_budget_is_refused_with_the_fastest_possible(toys: Toys) -> None:
    loop = loop_of(space_of(toys), Pretended(lambda _: 0.5, lambda _: 50.0))

    with pytest.raises(InfeasibleError) as caught:
        loop.search(Budget(latency_us=1.0))

    assert str(caught.value) == (
        "No network of this zoo is predicted to run within 0.001 ms. The fastest possible takes "
        "0.05 ms (upper end): 16px narrow[input..output]. "
        "Ask for that much, allow more stitches, or add faster donors."
    )


def test_limits_that_no_latency_could_meet_are_told_apart(toys: Toys) -> None:
    loop = loop_of(space_of(toys), Pretended(lambda _: 0.5, lambda _: 50.0))

    with pytest.raises(InfeasibleError) as caught:
        loop.search(Budget(params=1))

    assert str(caught.value) == (
        "No network of this zoo is within the limits asked for (number of parameters 1). It is "
        "enough to change one of them: number of parameters 2.632 k."
    )


def test_the_best_whole_donor_is_always_tried(toys: Toys) -> None:
    """However much the stitches promise, the answer is no worse than a donor that fits."""
    candidates = Pretended(by_stitches(0.5, 0.1), by_stitches(50.0, 60.0))

    trials = loop_of(space_of(toys), candidates).search(Budget(latency_us=95.0), Effort(2)).trials

    best = trials[0]
    assert best.candidate.blueprint == Blueprint.pure("narrow", 16)
    assert (best.order, best.assembly.status) == (0, "feasible")
    assert best.assembly.bound is not None
    assert best.assembly.bound > best.expected


@pytest.mark.parametrize(("really_us", "best"), [(90.0, "wide"), (97.0, "narrow")])
def test_a_better_donor_whose_interval_is_too_wide_is_measured(
    toys: Toys, really_us: float, best: str
) -> None:
    """Its median is within the limit, and its upper end is not: measurement decides."""
    candidates = Pretended(
        lambda b: 0.1 if b.stitches else 0.7 if b.donors == ("wide",) else 0.5,
        lambda b: really_us if b.donors == ("wide",) else 50.0,
    )
    space = space_of(toys, wide_upper_us=110.0)

    found = loop_of(space, candidates).search(Budget(latency_us=95.0))

    assert found.trials[0].candidate.blueprint == Blueprint.pure(best, 16)
    tried = [t for t in found.trials if t.candidate.blueprint == Blueprint.pure("wide", 16)]
    assert [trial.within for trial in tried] == [best == "wide"]
    assert tried[0].predicted.upper_us == pytest.approx(110.0)
    assert tried[0].order == len(found.trials) - 1


@pytest.mark.parametrize("effort", [Effort(1), Effort(20, seconds=0.0001)])
def test_a_hopeful_donor_is_not_measured_when_all_is_spent(toys: Toys, effort: Effort) -> None:
    candidates = Pretended(by_stitches(0.7, 0.1), lambda _: 90.0)

    loop_of(space_of(toys, wide_upper_us=110.0), candidates).search(Budget(latency_us=95.0), effort)

    assert Blueprint.pure("wide", 16) not in candidates.made


def test_a_donor_that_could_not_be_better_is_not_measured(toys: Toys) -> None:
    candidates = Pretended(by_stitches(0.5, 0.1), lambda _: 50.0)
    space = space_of(toys, wide=0.4, wide_upper_us=110.0)

    loop_of(space, candidates).search(Budget(latency_us=95.0))

    assert Blueprint.pure("wide", 16) not in candidates.made


def test_a_donor_that_is_as_good_as_another_is_proven_best(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tied(problem: Problem, **options: Any) -> Assembly:
        """Where all networks compete, the other of two that are equally good, as rounding may."""
        found = assemble(problem, **options)
        if dict(problem.limits)["stitches"] == 0 or options["forbid"]:
            return found
        return assemble(problem, **{**options, "forbid": [frozenset(found.arcs)]})

    monkeypatch.setattr(closed_loop, "assemble", tied)
    loop = loop_of(space_of(toys, 0.7, 0.7), Pretended(lambda _: 0.7, lambda _: 50.0))

    (trial,) = loop.search(Budget(latency_us=120.0, stitches=2)).trials

    assert (trial.assembly.status, trial.assembly.gap) == ("optimal", 0.0)
    assert trial.candidate.blueprint == Blueprint.pure("narrow", 16)


def test_a_real_search_ends_within_its_budget(bench: Workbench) -> None:
    wholes = bench.latency_model.wholes
    budget = max(whole.upper_us for whole in wholes.values()) * 0.97
    belief = Belief()

    trials = bench.loop(belief).search(Budget(latency_us=budget, stitches=2), Effort(2)).trials

    best = trials[0]
    assert best.within
    assert best.candidate.latency.upper_us <= budget
    assert len({trial.assembly.arcs for trial in trials}) == len(trials)
    stitched = [trial for trial in trials if trial.candidate.blueprint.stitches]
    assert all(trial.assembly.status == "optimal" for trial in stitched)
    assert len(belief.residuals) == len(stitched)


def test_a_real_refusal_names_the_fastest_network(bench: Workbench) -> None:
    loop = bench.loop(Belief())
    fastest = loop.fastest(Budget())

    with pytest.raises(InfeasibleError) as caught:
        loop.search(Budget(latency_us=0.001))

    least = enough_text("latency_us", fastest.cost("latency_us"))
    assert f"The fastest possible takes {least} (upper end): 64px " in str(caught.value)


def test_the_least_latency_is_looked_for_where_a_quality_is_demanded(toys: Toys) -> None:
    candidates = Pretended(by_stitches(0.5, 0.65), by_stitches(50.0, 80.0))
    limits = Budget(min_quality=0.6)

    best, *others = loop_of(space_of(toys), candidates).search(limits).trials

    assert best.within
    assert best.candidate.blueprint.stitches > 0
    assert best.score == -best.candidate.latency.upper_us
    assert all(trial.within <= best.within for trial in others)
    assert best.expected >= 0.6


def test_a_demanded_quality_that_measures_lower_is_not_kept(toys: Toys) -> None:
    candidates = Pretended(lambda _: 0.55, lambda _: 50.0)

    trials = loop_of(space_of(toys), candidates).search(Budget(min_quality=0.6), Effort(2)).trials

    assert not any(trial.within for trial in trials)


def test_the_loop_charges_for_memory_that_was_not_predicted(toys: Toys) -> None:
    belief, space = Belief(), space_of(toys)
    free = space.problem(Budget(memory_bytes=10**9), belief.now)
    wide = assemble(free).cost("memory_bytes")
    candidates = Pretended(lambda _: 0.6, lambda _: 50.0, lambda b: 2 * int(wide))
    limits = Budget(memory_bytes=int(wide * 1.5))

    trials = loop_of(space, candidates, belief).search(limits, Effort(3)).trials

    assert not any(trial.within for trial in trials)
    assert belief.excess["memory_bytes"] >= 2.0
    assert belief.tightened(limits).memory_bytes == int(wide * 1.5 / belief.excess["memory_bytes"])
    assert trials[0].believed is not None


def test_the_reason_for_stopping_is_told(toys: Toys) -> None:
    space = space_of(toys)
    good = loop_of(space, Pretended(lambda _: 0.7, lambda _: 100.0))
    worse = loop_of(space, Pretended(by_stitches(0.5, 0.4), by_stitches(50.0, 60.0)))
    alone = loop_of(space, Pretended(lambda _: 0.1, lambda _: 50.0))

    assert good.search(Budget(latency_us=120.0)).stopped == "settled"
    assert worse.search(Budget(latency_us=95.0), Effort(1)).stopped == "candidates"
    assert alone.search(Budget(latency_us=120.0, stitches=0)).stopped == "nothing left"


def test_the_certificate_compares_with_what_is_still_promised(toys: Toys) -> None:
    candidates = Pretended(by_stitches(0.5, 0.45), by_stitches(50.0, 60.0))
    limits = Budget(latency_us=95.0)
    loop = loop_of(space_of(toys), candidates)

    found = loop.search(limits)
    best = loop.confirm(found.trials[0], limits)
    made = loop.certificate(found, best, limits)

    stands = made.standing
    assert (found.stopped, made.holds) == ("no gain", "within interval")
    assert (stands.goal, stands.reached, stands.proof) == ("quality", 0.5, "optimal")
    assert 0.5 < (stands.promised or 0.0) <= 0.5 + made.interval
    assert stands.measured_error == pytest.approx((0.25 / 54) ** 0.5)
    assert made.met.upper_us == pytest.approx(50.0)
    assert (made.measured, made.withdrawn) == (1 + PATIENCE, 0)


def test_latency_is_what_is_certified_where_a_quality_is_demanded(toys: Toys) -> None:
    candidates = Pretended(by_stitches(0.5, 0.65), by_stitches(50.0, 80.0))
    limits = Budget(min_quality=0.6)
    loop = loop_of(space_of(toys), candidates)

    found = loop.search(limits)
    best = loop.confirm(found.trials[0], limits)
    made = loop.certificate(found, best, limits)

    assert made.standing.goal == "latency_us"
    assert made.standing.reached == pytest.approx(80.0)
    assert made.standing.model_error > 0.0


def test_several_are_built_between_two_solves(toys: Toys) -> None:
    candidates = Pretended(by_stitches(0.5, 0.1), by_stitches(50.0, 60.0))
    limits = Budget(latency_us=95.0)

    trials = loop_of(space_of(toys), candidates).search(limits, Effort(4, per_round=3)).trials

    tried = sorted(trials, key=lambda trial: trial.order)
    assert [trial.round for trial in tried] == [0, 1, 1, 1, 2][: len(tried)]
    assert len({trial.candidate.blueprint for trial in tried}) == len(tried) >= 4
    promised = [trial.assembly.objective for trial in tried[1:4]]
    assert promised == sorted(promised, key=lambda value: -(value or 0.0))


def test_a_round_ends_where_nothing_of_it_is_promised_better(toys: Toys) -> None:
    candidates = Pretended(by_stitches(0.5, 0.69), by_stitches(50.0, 60.0))
    limits = Budget(latency_us=95.0)

    found = loop_of(space_of(toys), candidates).search(limits, Effort(6, per_round=3))

    assert len(found.trials) == 2
    assert found.stopped == "settled"


def test_without_time_one_network_is_still_built(toys: Toys) -> None:
    candidates = Pretended(by_stitches(0.5, 0.1), by_stitches(50.0, 60.0))

    found = loop_of(space_of(toys), candidates).search(
        Budget(latency_us=95.0), Effort(6, seconds=1e-9)
    )

    assert (len(found.trials), found.stopped) == (1, "time")


def test_what_a_network_taught_is_noted_beside_what_was_believed_before(toys: Toys) -> None:
    candidates = Pretended(by_stitches(0.5, 0.1), by_stitches(50.0, 60.0))

    trials = loop_of(space_of(toys), candidates).search(Budget(latency_us=95.0)).trials

    tried = sorted(trials, key=lambda trial: trial.order)
    assert [trial.learned for trial in tried[:-1]] == [trial.believed for trial in tried[1:]]
