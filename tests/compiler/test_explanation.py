"""Explanation: pieces add up, limits are lifted one by one, the runner-up is the second best."""

from functools import partial

import pytest

from compiler.assembly import assemble, k_best
from compiler.believed import Believed
from compiler.dissection import Dissection
from compiler.drop_model import DropModel
from compiler.explanation import Explainer, Explanation, bound_text
from compiler.latency_model import Interval
from compiler.problem import Problem
from compiler.search_space import SearchSpace
from targets.budget import Budget
from targets.errors import UsageError
from tests.compiler.test_search_space import space_of

Toys = tuple[Dissection, Dissection]
BELIEVED = Believed(DropModel.of_slope(0.05), Interval(0.5, 1.0))


def problem_of(space: SearchSpace, budget: Budget) -> Problem:
    return space.problem(budget, BELIEVED)


def explained(toys: Toys, budget: Budget) -> tuple[SearchSpace, tuple[str, ...], Explanation]:
    space = space_of(toys)
    explainer = Explainer(space, partial(problem_of, space), budget, BELIEVED)
    arcs = assemble(problem_of(space, budget)).arcs
    return space, arcs, explainer.explain(arcs)


def test_pieces_add_up_to_the_network(toys: Toys) -> None:
    space, arcs, why = explained(toys, Budget(latency_us=90.0, stitches=1))

    whole = space.latency(arcs, BELIEVED.residual)
    assert [piece.kind for piece in why.pieces] == ["segment", "stitch", "segment"]
    assert sum(piece.latency.median_us for piece in why.pieces) == pytest.approx(whole.median_us)
    assert sum(piece.latency.upper_us for piece in why.pieces) == pytest.approx(whole.upper_us)
    assert why.best.quality == pytest.approx(sum(piece.quality for piece in why.pieces))
    assert why.best.network == str(space.blueprint(arcs))


def test_the_limit_that_decides_binds_and_the_others_do_not(toys: Toys) -> None:
    *_, why = explained(toys, Budget(latency_us=90.0, stitches=1, params=10**6, donors=2))

    binds = {bound.name: bound.binds for bound in why.bounds}
    assert binds == {"latency_us": True, "stitches": False, "params": False, "donors": False}
    latency = why.bounds[0]
    assert latency.used is not None
    assert latency.used <= 90.0
    assert latency.without.quality == pytest.approx(0.7)


def test_donors_that_are_demanded_or_excluded_are_limits_too(toys: Toys) -> None:
    *_, why = explained(toys, Budget(stitches=0, required=("narrow",), excluded=("wide",)))

    named = {bound.name: bound.binds for bound in why.bounds}
    assert named == {"stitches": False, "with narrow": False, "without wide": False}
    assert bound_text("with narrow") == "with narrow"
    assert (why.varied, why.prices) == (None, ())


def test_the_price_is_told_around_the_budget(toys: Toys) -> None:
    *_, why = explained(toys, Budget(latency_us=100.0, stitches=1))

    assert why.varied == "latency_us"
    assert [offer.asked for offer in why.prices] == [90.0, 100.0, pytest.approx(110.0)]
    qualities = [offer.quality or 0.0 for offer in why.prices]
    assert qualities == sorted(qualities)


def test_counts_are_varied_in_whole_numbers(toys: Toys) -> None:
    narrow, _ = toys
    params = sum(block.params for block in narrow.blocks)

    *_, why = explained(toys, Budget(stitches=0, params=params))

    assert why.varied == "params"
    less, same, _ = why.prices
    assert (less.found, less.network) == (False, "")
    assert same.network == "16px narrow[input..output]"
    assert not why.runner_up.found


def test_a_least_quality_is_priced_in_latency(toys: Toys) -> None:
    *_, why = explained(toys, Budget(stitches=1, min_quality=0.69))

    assert why.varied == "quality"
    assert [offer.asked for offer in why.prices] == [
        pytest.approx(0.67), 0.69, pytest.approx(0.71),
    ]  # fmt: skip
    less, same, more = why.prices
    assert less.latency is not None
    assert same.latency is not None
    assert less.latency.upper_us <= same.latency.upper_us
    assert not more.found


def test_the_runner_up_is_the_second_best(toys: Toys) -> None:
    budget = Budget(latency_us=90.0, stitches=1)
    space, _, why = explained(toys, budget)

    second = k_best(problem_of(space, budget), 2)[1]
    assert why.runner_up.network == str(space.blueprint(second.arcs))
    assert why.runner_up.quality == pytest.approx(second.objective)


def test_a_part_that_is_no_longer_offered_is_named(toys: Toys) -> None:
    space = space_of(toys, options=[])
    explainer = Explainer(space, partial(problem_of, space), Budget(), BELIEVED)

    with pytest.raises(UsageError, match="has the part 'gone', which this zoo no longer offers"):
        explainer.explain(("gone",))
