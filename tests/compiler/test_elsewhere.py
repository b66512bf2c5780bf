"""Elsewhere: a network has the costs of every target, and each target teaches its own residual."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.assembly import assemble, k_best
from compiler.belief import Belief
from compiler.believed import Believed
from compiler.candidates import Candidate
from compiler.closed_loop import ClosedLoop
from compiler.dissection import Dissection
from compiler.drop_model import DropModel
from compiler.elsewhere import NO_RESIDUAL
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.progress import Silent
from compiler.search_space import SearchSpace
from profilers.measurement import Measurement
from targets.budget import Budget
from targets.errors import InfeasibleError
from tests.compiler.latency_cases import plain_model, stitches_between
from tests.compiler.test_closed_loop import Pretended, by_stitches

BOX = "box:threads=2"
Toys = tuple[Dissection, Dissection]


def space_of(toys: Toys, here: tuple[float, float], there: tuple[float, float]) -> SearchSpace:
    """What narrow and wide take whole on each of two targets; wide is the better one."""
    options = stitches_between(toys)
    blocks = {b.name: Interval(1.0, 1.0) for d in toys for b in d.blocks}
    first, second = (
        plain_model(
            blocks,
            {(d.name, 16): Interval(whole, whole) for d, whole in zip(toys, wholes, strict=True)},
            1.0,
        )
        for wholes in (here, there)
    )
    quality = {("narrow", 16): 0.5, ("wide", 16): 0.7}
    return SearchSpace(toys, options, first, quality, elsewhere={BOX: second})


@dataclass
class Twice(Pretended):
    """Candidates that are measured on the other target, too."""

    there: Callable[[Blueprint], float] = lambda _: 1.0

    def make(self, blueprint: Blueprint) -> Candidate:
        seconds = self.there(blueprint) * 1e-6
        measured = Measurement("key", str(blueprint), ((seconds,) * 3,), (0.0,), False)
        return replace(Pretended.make(self, blueprint), elsewhere=((BOX, measured),))


def loop_of(space: SearchSpace, candidates: Pretended, belief: Belief) -> ClosedLoop:
    return ClosedLoop(space, candidates, belief, Silent(), here="small")  # type: ignore[arg-type]


@given(
    here=st.tuples(st.floats(20, 200), st.floats(20, 200)),
    there=st.tuples(st.floats(20, 200), st.floats(20, 200)),
    limits=st.tuples(st.floats(10, 250), st.floats(10, 250)),
    residual=st.floats(0, 20, allow_subnormal=False),
)
@settings(max_examples=20, deadline=None)
def test_the_answer_is_the_best_of_all_networks_within_both_budgets(
    toys: Toys,
    here: tuple[float, float],
    there: tuple[float, float],
    limits: tuple[float, float],
    residual: float,
) -> None:
    space, drops = space_of(toys, here, there), DropModel()
    charged = Interval(residual, residual)
    believed = Believed(drops, NO_RESIDUAL, elsewhere=((BOX, charged),))
    free = space.problem(Budget(stitches=1), believed)
    every = k_best(free, 500)

    budget = Budget(latency_us=limits[0], stitches=1, elsewhere=((BOX, limits[1]),))
    answer = assemble(space.problem(budget, believed))

    assert len(every) < 500
    within = [
        space.expected(one.arcs, drops)
        for one in every
        if space.latency(one.arcs, NO_RESIDUAL).upper_us <= limits[0]
        and space.latency_on(BOX, one.arcs, charged).upper_us <= limits[1]
    ]
    assert answer.found == bool(within)
    if within:
        assert answer.objective == pytest.approx(max(within), abs=1e-6)


def test_every_target_has_its_own_costs_and_residual(toys: Toys) -> None:
    space = space_of(toys, (50.0, 100.0), (80.0, 60.0))
    residual, there = Interval(5.0, 6.0), Interval(-30.0, 2.0)

    problem = space.problem(Budget(), Believed(DropModel(), residual, elsewhere=((BOX, there),)))

    wide = [block.name for block in toys[1].blocks]
    costs = {arc.id: arc for arc in problem.arcs}
    assert fsum(costs[name].cost("latency_us") for name in wide) == pytest.approx(100.0)
    assert fsum(costs[name].cost(f"latency_us@{BOX}") for name in wide) == pytest.approx(60.0)
    stitch = next(arc for arc in problem.arcs if ">" in arc.id)
    assert stitch.cost("latency_us") == pytest.approx(7.0)
    assert stitch.cost(f"latency_us@{BOX}") == pytest.approx(3.0)
    assert space.latency_on(BOX, [stitch.id], there) == Interval(0.0, pytest.approx(3.0))


def test_what_stitches_cost_is_learned_on_each_target(toys: Toys) -> None:
    belief, space = Belief(), space_of(toys, (50.0, 100.0), (50.0, 100.0))
    candidates = Twice(by_stitches(0.5, 0.6), by_stitches(50.0, 60.0), there=lambda _: 90.0)
    budget = Budget(latency_us=95.0, elsewhere=((BOX, 95.0),))

    trials = loop_of(space, candidates, belief).search(budget).trials

    best = trials[0]
    assert best.within
    assert best.elsewhere[0][0] == BOX
    stitched = [trial for trial in trials if trial.candidate.blueprint.stitches]
    assert set(belief.residuals_on[BOX]) == {trial.candidate.blueprint for trial in stitched}
    assert belief.elsewhere[BOX].median_us > belief.residual.median_us
    assert dict(belief.now.elsewhere) == belief.elsewhere


def test_a_network_that_is_too_slow_on_the_other_target_is_not_within(toys: Toys) -> None:
    space = space_of(toys, (50.0, 100.0), (50.0, 100.0))
    candidates = Twice(by_stitches(0.5, 0.6), lambda _: 50.0, there=by_stitches(50.0, 130.0))
    budget = Budget(latency_us=95.0, elsewhere=((BOX, 95.0),))

    best, *others = loop_of(space, candidates, Belief()).search(budget).trials

    assert best.candidate.blueprint == Blueprint.pure("narrow", 16)
    assert others
    assert not any(trial.within for trial in others)


def test_a_budget_of_the_other_target_alone_can_be_in_the_way(toys: Toys) -> None:
    space = space_of(toys, (50.0, 100.0), (500.0, 1000.0))
    loop = loop_of(space, Twice(lambda _: 0.5, lambda _: 50.0), Belief())

    with pytest.raises(InfeasibleError) as caught:
        loop.search(Budget(latency_us=200.0, elsewhere=((BOX, 100.0),)))

    assert str(caught.value).startswith(
        f"No network of this zoo is predicted to run within 0.1 ms on {BOX} and keep the other "
        "limits."
    ) or str(caught.value).startswith(
        f"No network of this zoo is predicted to run within 0.1 ms on {BOX}. The fastest possible "
        f"on {BOX} takes "
    )
