"""Partition: equal to enumeration on small zoos, consistent, monotone and always the same."""

import math
from collections.abc import Iterator
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from compiler.block_caps import Caps
from compiler.block_space import BlockSpace
from compiler.cover import cover, medoids, random_cover, settle
from compiler.equivalence import Member
from compiler.partition import partition
from compiler.partition_exact import prove
from compiler.partition_prices import price_blocks
from compiler.partition_search import NO_ANCHORS, search, swap_anchors
from compiler.progress import Silent
from compiler.similarity_table import ModelNodes, SimilarityTable
from targets.errors import UsageError

SILENT = Silent()

Spans = tuple[tuple[int, int], ...]


def table(lengths: list[int], values: NDArray[np.float64]) -> SimilarityTable:
    models = tuple(
        ModelNodes(f"m{i}", tuple(f"n{j}" for j in range(n)), tuple(range(1, n + 1)))
        for i, n in enumerate(lengths)
    )
    return SimilarityTable(models, values)


def noise(lengths: list[int], seed: int, levels: int = 0) -> SimilarityTable:
    """Similarities at random; with `levels`, of a few values alone, so that ties abound."""
    total = sum(lengths) + len(lengths)
    draw = np.random.default_rng(seed)
    found = draw.random((total, total))
    if levels:
        found = np.rint(found * levels) / levels
    found = np.triu(found, 1) + np.triu(found, 1).T
    np.fill_diagonal(found, 1.0)
    return table(lengths, found)


def walks(lengths: list[int], seed: int) -> SimilarityTable:
    """Linear CKA of features that drift along one path in every donor, as in real zoos."""
    draw = np.random.default_rng(seed)
    path = np.cumsum(draw.normal(size=(50, 16, 6)), axis=0)
    features = [
        path[round(49 * i / n)] + draw.normal(size=(16, 6)) for n in lengths for i in range(n + 1)
    ]
    grams = np.array([(x - x.mean(0)) @ (x - x.mean(0)).T for x in features]).reshape(-1, 256)
    grams /= np.linalg.norm(grams, axis=1, keepdims=True)
    return table(lengths, grams @ grams.T)


def cuts(count: int, k: int, epsilon: float | None) -> list[Spans]:
    """Every way to cut `count` nodes into `k` blocks within the cap."""
    found = [tuple(pairwise((0, *inner, count))) for inner in combinations(range(1, count), k - 1)]
    cap = count if epsilon is None else (1 + epsilon) * count / k + 1e-9
    return [spans for spans in found if all(end - start <= cap for start, end in spans)]


def enumerated(zoo: SimilarityTable, k: int, epsilon: float | None) -> float:
    """The best objective of all cut points and all choices of anchors among their blocks."""
    best = -math.inf
    for chosen in product(*(cuts(len(model), k, epsilon) for model in zoo.models)):
        spans = [
            (offset + start, offset + end)
            for offset, own in zip(zoo.offsets, chosen, strict=True)
            for start, end in own
        ]
        starts, ends = np.array(spans).T
        worth = zoo.values[np.ix_(starts, starts)] + zoo.values[np.ix_(ends, ends)]
        np.fill_diagonal(worth, 2.0)
        anchors = np.array(list(combinations(range(len(spans)), k)))
        nearest = worth[:, anchors].max(axis=2)
        best = max(best, float(nearest.sum(axis=0).max()))
    return best


def all_blocks(space: BlockSpace) -> NDArray[np.int64]:
    return np.arange(len(space))


@st.composite
def small_zoos(draw: st.DrawFn) -> tuple[SimilarityTable, int, float | None]:
    """Up to 3 donors of up to 6 nodes in up to 3 blocks: noise, ties, or drifting features."""
    k = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(k, k + 3), min_size=1, max_size=3))
    kind, seed = draw(st.sampled_from(["noise", "ties", "walks"])), draw(st.integers(0, 10**6))
    epsilon = draw(st.sampled_from([None, 1.0]))
    if kind == "walks":
        return walks(lengths, seed), k, epsilon
    return noise(lengths, seed, 3 if kind == "ties" else 0), k, epsilon


@settings(deadline=None, max_examples=30)
@given(small_zoos())
def test_the_proven_partition_is_the_best_of_enumeration(
    zoo: tuple[SimilarityTable, int, float | None],
) -> None:
    similarities, k, epsilon = zoo

    found = partition(similarities, k, epsilon=epsilon)

    assert found.proven
    assert found.objective == pytest.approx(enumerated(*zoo), abs=1e-7)
    assert found.bound == found.objective


@settings(deadline=None, max_examples=30)
@given(small_zoos())
def test_the_search_alone_finds_the_best_of_enumeration(
    zoo: tuple[SimilarityTable, int, float | None],
) -> None:
    similarities, k, epsilon = zoo

    found = search(BlockSpace(similarities, k, Caps(epsilon)), 0, 20, SILENT)

    assert found.value == pytest.approx(enumerated(*zoo), abs=1e-7)


@settings(deadline=None, max_examples=30)
@given(small_zoos())
def test_the_integer_program_alone_finds_the_best_of_enumeration(
    zoo: tuple[SimilarityTable, int, float | None],
) -> None:
    similarities, k, epsilon = zoo
    space = BlockSpace(similarities, k, Caps(epsilon))
    start = random_cover(space, NO_ANCHORS, np.random.default_rng(0))

    found = prove(space, start, all_blocks(space), all_blocks(space), 60, 0)

    assert found.proven
    assert found.best.value == found.bound == pytest.approx(enumerated(*zoo), abs=1e-7)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(small_zoos())
def test_the_bound_is_never_below_the_best_nor_does_it_drop_a_better_one(
    zoo: tuple[SimilarityTable, int, float | None],
) -> None:
    similarities, k, epsilon = zoo
    space = BlockSpace(similarities, k, Caps(epsilon))
    start = random_cover(space, NO_ANCHORS, np.random.default_rng(0))

    priced = price_blocks(space, start, 0, math.inf, SILENT, to_the_end=True)
    rest = prove(space, priced.best, priced.anchors, priced.blocks, 60, 0)

    best = enumerated(*zoo)
    assert priced.bound >= best - 1e-7
    assert rest.best.value == pytest.approx(best, abs=1e-7)


def steps(space: BlockSpace, seed: int) -> Iterator[float]:
    """The values on the way from a random start to its last swap."""
    found = random_cover(space, NO_ANCHORS, np.random.default_rng(seed))
    yield found.value
    for _ in range(3):
        centred = cover(space, medoids(space, found))
        assert centred is not None
        yield centred.value
        found = centred
    settled = settle(space, found)
    yield settled.value
    yield swap_anchors(space, settled).value


@pytest.mark.parametrize("seed", range(5))
def test_every_step_of_the_search_is_monotone_in_the_objective(seed: int) -> None:
    values = list(steps(BlockSpace(walks([9, 12, 8, 10], seed), 4, Caps(0.5)), seed))

    assert values == sorted(values)
    assert values[-1] > values[0]


def test_every_block_is_in_the_set_of_the_nearest_anchor_and_every_anchor_in_its_own() -> None:
    similarities = walks([8, 9, 10, 11, 12], 3)

    found = partition(similarities, 4, epsilon=0.5)

    assert [len(found.blocks(name)) for name in found.donors] == [4] * 5
    for group in found.sets:
        assert group.anchor.similarity == 2.0
        for member in group.members:
            values = [similarity(similarities, member, other.anchor) for other in found.sets]
            assert member.similarity == max(values)


def similarity(zoo: SimilarityTable, block: Member, anchor: Member) -> float:
    """S of two members, from the table; donors are m0, m1, ..."""
    if (block.model, block.start) == (anchor.model, anchor.start):
        return 2.0
    a, b = (zoo.offsets[int(m.model[1:])] + m.start for m in (block, anchor))
    return float(zoo.values[a, b] + zoo.values[a + block.nodes, b + anchor.nodes])


def test_an_anchor_is_the_medoid_of_its_set() -> None:
    similarities = walks([8, 9, 10, 11], 5)

    found = partition(similarities, 3, epsilon=0.5)

    for group in found.sets:
        sums = [
            sum(similarity(similarities, member, other) for member in group.members)
            for other in group.members
        ]
        assert sums[group.members.index(group.anchor)] == pytest.approx(max(sums), abs=1e-7)


def test_the_objective_is_the_sum_of_the_similarities_that_are_told() -> None:
    found = partition(walks([6, 7, 8], 1), 3, epsilon=0.5)

    assert found.objective == math.fsum(m.similarity for g in found.sets for m in g.members)


def test_twins_share_their_sets_and_every_block_is_worth_two() -> None:
    one = walks([6], 2).values
    twins = table([6, 6], np.block([[one, one], [one, one]]))

    found = partition(twins, 3, epsilon=None)

    assert found.objective == 12.0
    assert [[m.model for m in group.members] for group in found.sets] == [["m0", "m1"]] * 3


def test_one_block_a_donor_makes_one_set() -> None:
    found = partition(walks([3, 4], 0), 1)

    assert [str(member) for member in found.sets[0].members] == ["m0 n0..n2", "m1 n0..n3"]


def test_sets_are_in_the_order_of_their_anchors_depth() -> None:
    found = partition(walks([8, 8, 8], 4), 4, epsilon=0.5)

    starts = [group.anchor.start for group in found.sets]
    assert starts == sorted(starts)


def test_the_same_seed_gives_the_same_partition() -> None:
    similarities = noise([5, 6, 5], 8, levels=2)

    first, second = (partition(similarities, 3, epsilon=None, seed=7) for _ in range(2))

    assert first == second
    assert first.seed == 7


def test_caps_on_parameters_hold_in_the_answer() -> None:
    found = partition(noise([6, 6], 0), 3, epsilon=None, param_epsilon=0.3)

    # Parameters are 1 to 6, the cap is 1.3 * 21 / 3 = 9.1: one partition is left.
    assert [member.params for member in found.blocks("m0")] == [6, 9, 6]
    assert [str(member) for member in found.blocks("m1")] == ["m1 n0..n2", "m1 n3..n4", "m1 n5..n5"]


def test_without_the_integer_program_the_bound_may_prove_the_answer() -> None:
    similarities = walks([6, 7, 8, 9], 2)

    found = partition(similarities, 3, epsilon=0.5, exact="never")

    assert found.solver == "derycc prices"
    assert found.bound is not None
    assert found.objective <= found.bound <= found.objective + 1e-3
    assert found.objective == pytest.approx(partition(similarities, 3, epsilon=0.5).objective)


def test_with_too_little_effort_the_answer_is_not_proven_and_says_how_far_off_it_may_be() -> None:
    similarities = walks([9] * 5, 0)

    hasty = partition(similarities, 4, epsilon=0.5, starts=1, time_limit_s=1e-3)
    patient = partition(similarities, 4, epsilon=0.5)

    assert not hasty.proven
    assert hasty.bound is not None
    assert hasty.objective <= patient.objective <= hasty.bound
    assert hasty.gap is not None
    assert hasty.gap > 0
    assert patient.proven


def test_an_integer_program_that_is_stopped_early_keeps_what_was_known() -> None:
    space = BlockSpace(walks([8, 8, 8], 0), 3, Caps(None))
    known = search(space, 0, 1, SILENT)

    found = prove(space, known, all_blocks(space), all_blocks(space), 1e-6, 0)

    assert not found.proven
    assert found.best.value == known.value
    assert found.bound >= known.value


def test_blocks_that_make_no_partition_leave_the_known_one_the_best() -> None:
    space = BlockSpace(walks([5, 5], 0), 2, Caps(None))
    known = search(space, 0, 1, SILENT)

    found = prove(space, known, all_blocks(space), all_blocks(space)[:3], 60, 0)

    assert found.proven
    assert found.best is known


def test_prices_on_a_sample_of_the_anchors_reach_the_same_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = BlockSpace(walks([9, 10, 11, 12], 1), 3, Caps(0.5))
    start = random_cover(space, NO_ANCHORS, np.random.default_rng(0))
    whole = price_blocks(space, start, 0, math.inf, SILENT, to_the_end=True)
    monkeypatch.setattr("compiler.partition_prices.SAMPLE", 20)

    sampled = price_blocks(space, start, 0, math.inf, SILENT, to_the_end=True)

    assert sampled.best.value == whole.best.value
    assert sampled.bound == pytest.approx(whole.bound, abs=0.01)


def test_a_large_zoo_swaps_only_promising_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    space = BlockSpace(walks([9, 10, 11], 1), 3, Caps(0.5))
    exhaustive = search(space, 0, 5, SILENT)
    monkeypatch.setattr("compiler.partition_search.MOST_PAIRS", 20 * len(space))

    found = search(space, 0, 5, SILENT)

    assert 0.97 * exhaustive.value <= found.value <= exhaustive.value


def test_anchors_that_overlap_have_no_cover() -> None:
    space = BlockSpace(walks([5, 5], 0), 2, Caps(None))
    overlapping = np.array([0, space.rivals(0)[0]])

    assert cover(space, overlapping) is None
    assert cover(space, np.array([0, 0])) is None


def test_a_swap_is_worth_what_the_cover_with_it_is() -> None:
    space = BlockSpace(walks([6, 7], 0), 3, Caps(None))
    fixed = random_cover(space, NO_ANCHORS, np.random.default_rng(0)).anchors[:2]

    values = space.values(fixed, all_blocks(space))

    covers = [cover(space, np.append(fixed, block)) for block in all_blocks(space)]
    assert values.tolist() == [-math.inf if c is None else c.value for c in covers]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "The seed is -1"),
        ({"starts": 0}, "Asked for 0 starts"),
        ({"time_limit_s": 0.0}, r"The time limit is 0\.0 s"),
        ({"exact": "maybe"}, "exact is 'maybe'. Give auto, always or never"),
        ({"epsilon": -1.0}, r"epsilon is -1\.0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        partition(walks([4, 4], 0), 2, **options)


def test_a_donor_that_is_named_twice_is_refused() -> None:
    model = ModelNodes("m", ("a", "b"), (1, 1))

    with pytest.raises(UsageError, match="each named once; given: m, m"):
        partition(SimilarityTable((model, model), np.eye(6)), 2)


def test_a_zoo_of_no_donors_is_refused() -> None:
    with pytest.raises(UsageError, match="given: none"):
        partition(SimilarityTable((), np.empty((0, 0))), 2)
