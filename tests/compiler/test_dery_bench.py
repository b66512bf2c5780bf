"""DeRy mode on the tiny zoo: sets, joints, proxies on really built networks, and the choice."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from compiler.assembly import assemble, k_best
from compiler.belief import Belief
from compiler.candidates import Photographs
from compiler.closed_loop import ClosedLoop
from compiler.dery_bench import DeryBench, DerySettings
from compiler.dery_space import DerySpace, joints_of
from compiler.effort import Effort
from compiler.equivalence import Partition
from compiler.images import ImageSet
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.proxies import Proxy, get_proxy
from compiler.proxy_order import ProxyOrder, enumerate_assemblies, proxy_batches
from compiler.scored_search import Promise, ScoredSearch
from compiler.scores import SCORES
from compiler.workbench import Workbench
from targets.budget import Budget
from targets.errors import DataError, UnknownNameError, UsageError
from targets.target import get_target
from tests.compiler.dery_cases import partition_of

EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"


@pytest.fixture(scope="module")
def written(bench: Workbench) -> Partition:
    """Both donors cut at 8 x 8, every stage a set of its own: four networks."""
    donors = [bench.donors.dissection(name, 64) for name in (EFFICIENT, RESIDUAL)]
    return partition_of(donors, [(3,), (2,)], [[0, 1], [0, 1]], [[2.0, 1.5], [1.0, 2.0]])


@pytest.fixture
def dery(bench: Workbench, written: Partition) -> Callable[[str], DeryBench]:
    def made(score: str) -> DeryBench:
        found = DeryBench(bench, DerySettings(2, score, seed=3))
        found.__dict__["partition"] = written
        return found

    return made


def test_the_partition_is_of_the_donors_as_the_photographs_show_them(bench: Workbench) -> None:
    found = DeryBench(bench, DerySettings(2))

    assert found.partition.donors == (EFFICIENT, RESIDUAL)
    assert (found.partition.k, found.partition.epsilon) == (2, 0.2)
    assert found.partition == DeryBench(bench, DerySettings(2)).partition


def test_stitches_are_fitted_and_measured_at_the_joints_alone(
    dery: Callable[[str], DeryBench], written: Partition
) -> None:
    bench = dery("quality").workbench

    found = [(o.source_model, o.source.name, o.target.name) for o in bench.options]

    assert bench.settings.rule == joints_of(written)
    assert found == [
        (EFFICIENT, "blocks.2.0", "layer2.0"),
        (RESIDUAL, "layer2.0", "blocks.2.0"),
    ]
    assert len(bench.wanted.stitches) == 2
    assert all(option.r2 <= 1.0 for option in bench.options)


def test_quality_is_searched_for_by_the_closed_loop(dery: Callable[[str], DeryBench]) -> None:
    found = dery("quality")

    loop = found.loop(Belief())
    trials = loop.search(Budget(latency_us=1e6), Effort(1)).trials
    answer = found.answer(trials[0], trials)

    assert isinstance(loop, ClosedLoop)
    assert [member.stage for member in answer.members] == [0, 1]
    assert (answer.score, answer.enumerated, answer.correlation) == (trials[0].quality, None, None)


def test_similarity_is_solved_exactly(dery: Callable[[str], DeryBench]) -> None:
    found = dery("similarity")

    trials = found.loop(Belief()).search(Budget(latency_us=1e6), Effort(1)).trials
    answer = found.answer(trials[0], trials)

    assert [member.model for member in answer.members] == [EFFICIENT, RESIDUAL]
    assert (answer.score, answer.proven, answer.enumerated) == (4.0, True, None)


def test_a_proxy_ranks_all_networks_within_the_budget(dery: Callable[[str], DeryBench]) -> None:
    found = dery("naswot")
    loop = found.loop(Belief())

    trials = loop.search(Budget(latency_us=1e6)).trials
    answer = found.answer(trials[0], trials)

    candidates = found.workbench.candidates
    images = candidates.photographs.calibration
    scores = {}
    for trial in trials:
        network = candidates.network(trial.candidate.blueprint)
        (batch,), labels = proxy_batches(images, network.preprocessing, seed=3)
        scores[trial.candidate.blueprint] = get_proxy("naswot")(network, [batch], labels)
    assert isinstance(loop, ScoredSearch)
    assert len(scores) == 4
    assert [trial.score for trial in trials] == sorted(scores.values(), reverse=True)
    assert all(trial.score == scores[trial.candidate.blueprint] for trial in trials)
    assert (answer.score, answer.enumerated, answer.complete) == (trials[0].score, 4, True)
    assert answer.proven


def test_scores_are_the_same_every_time_and_leave_the_random_state_alone(
    dery: Callable[[str], DeryBench],
) -> None:
    orders = [order_of(dery("synflow")), order_of(dery("synflow"))]
    state = torch.get_rng_state()

    firsts = [order.best(Budget(latency_us=1e6), Belief(), ()) for order in orders]

    assert firsts[0] is not None
    assert firsts[1] is not None
    assert firsts[0].score == firsts[1].score > 0
    assert firsts[0].assembly.arcs == firsts[1].assembly.arcs
    assert torch.equal(state, torch.get_rng_state())


def order_of(found: DeryBench, most: int = 64) -> ProxyOrder:
    bench = found.workbench
    proxy = get_proxy(found.settings.score)
    return ProxyOrder(found.space, proxy, bench.candidates, bench.progress, 3, most)


def test_more_networks_than_are_scored_are_said_to_be_more(
    dery: Callable[[str], DeryBench],
) -> None:
    space, wide = dery("quality").space, Budget(latency_us=1e6)

    all_of_them = enumerate_assemblies(space, wide, Belief())
    some = enumerate_assemblies(space, wide, Belief(), most=3)

    assert (len(all_of_them.assemblies), all_of_them.complete) == (4, True)
    assert (len(some.assemblies), some.complete) == (3, False)
    assert [one.arcs for one in some.assemblies] == [a.arcs for a in all_of_them.assemblies[:3]]


def test_what_is_learned_of_latency_leaves_out_candidates(
    dery: Callable[[str], DeryBench],
) -> None:
    found = dery("jacov")
    order, space = order_of(found), found.space
    order.best(Budget(latency_us=1e6), Belief(), ())
    answers = order.enumerated.assemblies
    limit = max(space.latency(answer.arcs, Belief().residual).upper_us for answer in answers)
    slow = Belief()
    slow.residuals[Blueprint.pure(EFFICIENT, 64)] = replace(slow.residual, upper_us=1e5)

    best = order.best(Budget(latency_us=limit), slow, ())

    assert best is not None
    assert not space.blueprint(best.assembly.arcs).stitches


def test_memory_that_was_underestimated_leaves_out_candidates(
    dery: Callable[[str], DeryBench],
) -> None:
    found = dery("synflow")
    order, belief = order_of(found), Belief()
    free = found.space.problem(Budget(memory_bytes=10**9), belief.now)
    needs = sorted(answer.cost("memory_bytes") for answer in k_best(free, 4))
    limits = Budget(memory_bytes=int(needs[-1]) + 1)
    before = order.best(belief.tightened(limits), belief, ())

    belief.excess["memory_bytes"] = needs[-1] / needs[0]
    tight = belief.tightened(limits)
    left = [one for one in order._ranking or () if one.assembly.cost("memory_bytes") <= needs[0]]

    assert before is not None
    assert order.best(tight, belief, ()) == left[0]
    assert order.promise(tight, belief, ()) == Promise(left[0].score, "optimal")
    belief.excess["memory_bytes"] *= 2
    assert order.promise(belief.tightened(limits), belief, ()) == Promise(None, "infeasible")


def test_a_set_of_which_limits_leave_no_block_makes_a_problem_without_an_answer(
    dery: Callable[[str], DeryBench],
) -> None:
    space, now = dery("quality").space, Belief().now

    tiny = assemble(space.problem(Budget(memory_bytes=1), now))
    alone = assemble(space.problem(Budget(excluded=(EFFICIENT,)), now))
    neither = assemble(space.problem(Budget(excluded=(EFFICIENT, RESIDUAL)), now))

    assert (tiny.status, alone.status, neither.status) == ("infeasible", "optimal", "infeasible")
    assert space.blueprint(alone.arcs) == Blueprint.pure(RESIDUAL, 64)


def test_nothing_is_promised_once_stitches_are_thought_faster_on_another_target(
    bench: Workbench, written: Partition
) -> None:
    both = Workbench(
        bench.zoo,
        bench.target,
        bench.store,
        bench.settings,
        bench.progress,
        bench.photographs,
        (get_target("reference:threads=2"),),
    )
    found = DeryBench(both, DerySettings(2, "synflow", seed=3))
    found.__dict__["partition"] = written
    (there,) = (str(one.target) for one in both.elsewhere)
    order, limits = order_of(found), Budget(elsewhere=((there, 1e6),))
    first = order.promise(limits, Belief(), ())

    faster = Belief(residuals_on={there: {Blueprint.pure(EFFICIENT, 64): Interval(-5.0, -5.0)}})

    assert first.proof == "optimal"
    assert order.promise(limits, faster, ()) == Promise(None, "unknown")


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_a_network_whose_score_is_not_finite_comes_last(
    dery: Callable[[str], DeryBench], odd: float
) -> None:
    scores = iter([odd, 1.0, 2.0, odd])
    order = order_of(dery("naswot"))
    order._proxy = Proxy("odd", lambda *_: next(scores))

    best = order.best(Budget(latency_us=1e6), Belief(), ())

    assert best is not None
    assert best.score == 2.0
    assert [one.score for one in order._ranking or ()] == [2.0, 1.0, -math.inf, -math.inf]


def test_batches_are_drawn_by_the_seed_and_keep_their_labels(
    pictures: ImageSet, bench: Workbench
) -> None:
    preprocessing = bench.donors.preprocessing(RESIDUAL, 64)
    many = replace(pictures, paths=pictures.paths * 7, labels=(pictures.labels or ()) * 7)

    few, labels = proxy_batches(pictures, preprocessing, 1)
    again, _ = proxy_batches(pictures, preprocessing, 1)
    other, _ = proxy_batches(pictures, preprocessing, 2)
    batches, both = proxy_batches(many, preprocessing, 1)

    assert [batch.shape for batch in few] == [(10, 3, 64, 64)]
    assert torch.equal(few[0], again[0])
    assert not torch.equal(few[0], other[0])
    assert labels is not None
    assert sorted(labels[0].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert both is not None
    assert [(len(x), len(y)) for x, y in zip(batches, both, strict=True)] == [(32, 32), (32, 32)]


def test_a_score_that_needs_labels_is_refused_without_any(
    bench: Workbench, photographs: Photographs
) -> None:
    with pytest.raises(DataError) as refused:
        DeryBench(bench, DerySettings(2, "snip"))

    assert str(refused.value) == (
        "The score 'snip' needs labels, and the photographs have none. Give labelled ones with "
        "--data, or take --score naswot, jacov or synflow."
    )


def test_settings_are_checked_where_they_are_made() -> None:
    assert SCORES[:2] == ("quality", "similarity")
    with pytest.raises(UnknownNameError, match=r"Unknown score 'naswott'\. Did you mean 'naswot'"):
        DerySettings(score="naswott")
    with pytest.raises(UsageError, match="The seed is -1"):
        DerySettings(seed=-1)
    with pytest.raises(UsageError, match="Asked for 0 blocks of each donor"):
        DerySettings(k=0)


def test_the_space_is_that_of_the_partition(
    dery: Callable[[str], DeryBench], written: Partition
) -> None:
    space = dery("quality").space

    assert isinstance(space, DerySpace)
    assert space.partition is written
