"""An assembly problem in integers: numbered arcs, the useful ones kept, limits and counts as rows.

Budgets are turned into two sets of rows. `rows` rounds costs down: every allowed path keeps them,
and a path that keeps them is checked against the true numbers (`fits`) before it is an answer.
`strict_rows` rounds costs up and limits down: every path that keeps them is allowed, and at most
1e-9 of a limit a path is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler.cpsat import Row
from compiler.flow_paths import FlowGraph
from compiler.integers import Grid
from compiler.problem import Problem

Prices = Mapping[int, float]
"""What arcs cost of one resource, by arc number; arcs that cost nothing are left out."""


@dataclass(frozen=True, slots=True)
class PathProgram:
    """What the search needs to know of a problem.

    Attributes:
        problem: The problem in its own numbers.
        graph: Its arcs, numbered as in `problem.arcs`.
        arcs: The arcs that some allowed path may use.
        order: The nodes in an order that `arcs` follow; None if they have a cycle.
        values: Integer scores, higher is better whatever the problem's sense.
        grid: What a step of `values` stands for.
        rows: Limits and counts that every allowed path keeps.
        strict_rows: Limits and counts that only allowed paths keep.
    """

    problem: Problem
    graph: FlowGraph
    arcs: tuple[int, ...]
    order: tuple[int, ...] | None
    values: dict[int, int]
    grid: Grid
    rows: tuple[Row, ...]
    strict_rows: tuple[Row, ...]

    @classmethod
    def of(cls, problem: Problem) -> PathProgram:
        """Number, prune and scale a problem."""
        graph = _graph(problem)
        limits = [(_prices(problem, name), limit) for name, limit in problem.limits]
        arcs = _useful(graph, limits)
        order = graph.order(arcs)
        sign = 1 if problem.sense == "maximize" else -1
        grid = Grid.over([problem.arcs[arc].score for arc in arcs])
        values = {arc: sign * grid.nearest(problem.arcs[arc].score) for arc in arcs}
        budgets = [pair for prices, limit in limits for pair in _budget_rows(arcs, prices, limit)]
        counts = _count_rows(problem, arcs)
        return cls(
            problem,
            graph,
            tuple(arcs),
            None if order is None else tuple(order),
            values,
            grid,
            (*(loose for loose, _ in budgets), *counts),
            (*(strict for _, strict in budgets), *counts),
        )

    def fits(self, path: Sequence[int]) -> bool:
        """Whether the path keeps every limit in the problem's own numbers, correctly summed."""
        return all(self.cost(path, name) <= limit for name, limit in self.problem.limits)

    def cost(self, path: Sequence[int], resource: str) -> float:
        """What the path costs of `resource`."""
        return math.fsum(self.problem.arcs[arc].cost(resource) for arc in path)

    def objective(self, path: Sequence[int]) -> float:
        """The path's score in the problem's own numbers."""
        return math.fsum(self.problem.arcs[arc].score for arc in path)

    def bound(self, steps: int) -> float:
        """The score that no path can better when no path's integer value is above `steps`."""
        sign = 1 if self.problem.sense == "maximize" else -1
        rounding = 0 if self.grid.exact else self.graph.nodes  # half a step an arc, generously
        return sign * self.grid.value(steps + rounding)

    def savings(self, resource: str) -> dict[int, int]:
        """Integers, higher where an arc costs less of `resource`; empty if none costs any."""
        prices = _prices(self.problem, resource)
        kept = {arc: prices[arc] for arc in self.arcs if arc in prices}
        grid = Grid.over(list(kept.values()))
        return {arc: -grid.nearest(cost) for arc, cost in kept.items()}


def _graph(problem: Problem) -> FlowGraph:
    names = dict.fromkeys((problem.source, problem.sink))
    for arc in problem.arcs:
        names.setdefault(arc.tail)
        names.setdefault(arc.head)
    number = {name: index for index, name in enumerate(names)}
    return FlowGraph(
        nodes=len(number),
        source=number[problem.source],
        sink=number[problem.sink],
        tails=tuple(number[arc.tail] for arc in problem.arcs),
        heads=tuple(number[arc.head] for arc in problem.arcs),
    )


def _prices(problem: Problem, resource: str) -> Prices:
    costs = ((index, arc.cost(resource)) for index, arc in enumerate(problem.arcs))
    return {index: cost for index, cost in costs if cost}


def _useful(graph: FlowGraph, limits: Sequence[tuple[Prices, float]]) -> list[int]:
    """The arcs on walks from source to sink that no single limit rules out."""
    arcs = graph.on_some_walk(range(len(graph.tails)))
    before = len(arcs) + 1
    while len(arcs) < before:
        before = len(arcs)
        for prices, limit in limits:
            arcs = graph.affordable(arcs, prices, limit)
    return arcs


def _budget_rows(arcs: Sequence[int], prices: Prices, limit: float) -> list[tuple[Row, Row]]:
    """The limit with costs rounded down and with costs rounded up; nothing where it cannot bind."""
    kept = {arc: prices[arc] for arc in arcs if arc in prices}
    if math.fsum(kept.values()) <= limit:
        return []
    grid = Grid.over([*kept.values(), limit])
    # On an exact grid a sum that equals the limit in decimals may exceed it in floats.
    below = grid.down(limit) - (1 if grid.exact else 0)
    loose = Row({arc: grid.down(cost) for arc, cost in kept.items()}, grid.highest(limit))
    strict = Row({arc: grid.up(cost) for arc, cost in kept.items()}, below)
    return [(loose, strict)]


def _count_rows(problem: Problem, arcs: Sequence[int]) -> list[Row]:
    number = {problem.arcs[arc].id: arc for arc in arcs}
    rows = []
    for count in problem.counts:
        counted = [number[name] for name in count.arcs if name in number]
        if count.at_most is not None and count.at_most < len(counted):
            rows.append(Row(dict.fromkeys(counted, 1), count.at_most))
        if count.at_least:
            rows.append(Row(dict.fromkeys(counted, -1), -count.at_least))
    return rows
