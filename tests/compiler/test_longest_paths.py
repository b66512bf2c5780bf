"""Longest paths and walks, and integers: against enumeration and against decimals."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.flow_paths import FlowGraph
from compiler.integers import LARGEST, Grid
from compiler.longest_paths import LongestPaths


def graph(*ends: tuple[int, int], nodes: int) -> FlowGraph:
    """From node 0 to node 1."""
    tails, heads = zip(*ends, strict=True)
    return FlowGraph(nodes, 0, 1, tails, heads)


def over(made: FlowGraph) -> LongestPaths:
    return LongestPaths.over(made, np.arange(len(made.tails)))


def longest_through(made: FlowGraph, weights: np.ndarray, arc: int) -> float:
    """By walking every path of an acyclic graph."""

    def best(node: int, passed: bool) -> float:
        if node == made.sink:
            return 0.0 if passed else -np.inf
        options = [
            weights[i] + best(made.heads[i], passed or i == arc)
            for i in range(len(made.tails))
            if made.tails[i] == node
        ]
        return max(options, default=-np.inf)

    return best(made.source, False)


@pytest.mark.parametrize("seed", range(30))
def test_the_longest_path_through_every_arc_is_that_of_enumeration(seed: int) -> None:
    random = Random(seed)
    order = [0, *random.sample(range(2, 7), 5), 1]
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    made = graph(*random.sample(pairs, 12), nodes=7)
    weights = np.array([random.uniform(-5, 5) for _ in range(12)])

    paths = over(made)
    through = paths.through(weights)

    assert paths.acyclic
    assert through is not None
    expected = [longest_through(made, weights, arc) for arc in range(12)]
    assert through.tolist() == pytest.approx(expected)


def test_a_cycle_that_costs_is_walked_around_for_no_path() -> None:
    made = graph((0, 2), (2, 3), (3, 2), (3, 1), nodes=4)

    paths = over(made)
    through = paths.through(np.array([1.0, 1.0, -3.0, 1.0]))

    assert not paths.acyclic
    assert through is not None
    assert through.tolist() == [3.0, 3.0, 1.0, 3.0]


def test_a_cycle_that_pays_has_no_longest_walk() -> None:
    made = graph((0, 2), (2, 3), (3, 2), (3, 1), nodes=4)

    assert over(made).through(np.array([1.0, 1.0, 1.0, 1.0])) is None


def test_a_walk_that_returns_to_a_node_is_no_path() -> None:
    made = graph((0, 2), (2, 3), (3, 2), (3, 1), nodes=4)
    paths = over(made)

    assert paths.path(np.array([0.0, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, -1.0])).size == 0
    assert paths.path(np.zeros(4), np.full(4, -np.inf)).size == 0


def test_a_long_chain_with_a_way_back_everywhere_is_swept_quickly() -> None:
    inner = [0, *range(2, 400), 1]
    made = graph(*pairwise(inner), *((b, a) for a, b in pairwise(inner) if a and b != 1), nodes=400)

    weights = np.array([1.0] * 399 + [-1.5] * 397)
    through = over(made).through(weights)

    assert through is not None
    assert through.max() == 399.0


@given(st.lists(st.floats(1e-9, 1e14), min_size=1, max_size=20))
def test_rounding_a_column_brackets_every_number(numbers: list[float]) -> None:
    grid = Grid.over(numbers)
    values = np.array(numbers)
    exact = [Decimal(repr(number)).scaleb(grid.digits) for number in numbers]

    down, up, nearest = grid.down(values), grid.up(values), grid.nearest(values)

    assert down.tolist() == [int(number.to_integral_value(ROUND_FLOOR)) for number in exact]
    assert up.tolist() == [int(number.to_integral_value(ROUND_CEILING)) for number in exact]
    assert all(
        abs(step - number) <= Decimal("0.50001")
        for step, number in zip(nearest.tolist(), exact, strict=True)
    )
    assert up.max() <= LARGEST
    assert not grid.exact or down.tolist() == up.tolist()


@pytest.mark.parametrize(
    ("numbers", "digits", "exact"),
    [
        ([1.0, 2.0], 0, True),
        ([1000.0, 250000.0], -3, True),
        ([0.1, 0.25], 2, True),
        ([910.25, 1200000.0], 2, True),
        ([1 / 3], 10, False),
        ([1e9, 0.001], 0, False),
        ([1e-300], 300, True),
        ([3e299, 1e300], -299, True),
        ([1e300, 1.0], -291, False),
        ([0.0], 0, True),
        ([], 0, True),
    ],
)
def test_the_grid_is_the_coarsest_that_is_exact(
    numbers: list[float], digits: int, exact: bool
) -> None:
    grid = Grid.over(numbers)

    assert (grid.digits, grid.exact) == (digits, exact)
