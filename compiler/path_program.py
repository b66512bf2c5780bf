"""An assembly problem in integers: numbered arcs, the useful ones kept, limits and counts as rows.

Budgets are turned into two sets of rows. `rows` rounds costs down: every allowed path keeps them,
and a path that keeps them is checked against the true numbers (`fits`) before it is an answer.
`strict_rows` rounds costs up and limits down: every path that keeps them is allowed, and at most
1e-9 of a limit a path is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compiler.cpsat import Row
from compiler.integers import Grid
from compiler.ledger import Ledger
from compiler.longest_paths import Floats, Indices, LongestPaths
from compiler.problem import Problem


@dataclass(frozen=True, slots=True)
class Budget:
    """What the arcs cost of one resource, as integers, for any limit.

    Attributes:
        grid: How they are scaled.
        down: Costs rounded down, by arc.
        up: Costs rounded up.
        total: What all arcs cost together; a limit above it binds nothing.
    """

    grid: Grid
    down: Mapping[int, int]
    up: Mapping[int, int]
    total: float

    @classmethod
    def over(cls, arcs: Indices, costs: Floats) -> Budget:
        """The costs of `arcs`, as integers."""
        arcs = arcs[costs[arcs] > 0]
        kept = costs[arcs]
        grid = Grid.over(kept)
        return cls(
            grid, _table(arcs, grid.down(kept)), _table(arcs, grid.up(kept)), math.fsum(kept)
        )

    def rows(self, limit: float) -> tuple[Row, Row] | None:
        """The limit with costs rounded down and with costs rounded up; None if it cannot bind."""
        if self.total <= limit:
            return None
        # On an exact grid a sum that equals the limit in decimals may exceed it in floats.
        below = self.grid.below(limit) - (1 if self.grid.exact else 0)
        return Row(self.down, self.grid.highest(limit)), Row(self.up, below)


@dataclass(frozen=True, slots=True)
class PathProgram:
    """What the search needs to know of a problem.

    Attributes:
        problem: The problem in its own numbers.
        ledger: Its arcs as arrays.
        arcs: The arcs that some allowed path may use.
        longest: Longest paths over `arcs`.
        values: Integer scores, higher is better whatever the problem's sense.
        grid: What a step of `values` stands for.
        budgets: Of every limited resource.
        counts: Counts as rows.
    """

    problem: Problem
    ledger: Ledger
    arcs: tuple[int, ...]
    longest: LongestPaths
    values: dict[int, int]
    grid: Grid
    budgets: Mapping[str, Budget]
    counts: tuple[Row, ...]

    @classmethod
    def of(cls, problem: Problem) -> PathProgram:
        """Number, prune and scale a problem."""
        ledger = Ledger.of(problem)
        arcs = ledger.affordable(problem.limits)
        scores = ledger.scores[arcs]
        grid = Grid.over(scores)
        sign = 1 if problem.sense == "maximize" else -1
        return cls(
            problem,
            ledger,
            tuple(arcs.tolist()),
            LongestPaths.over(ledger.graph, arcs),
            _table(arcs, sign * grid.nearest(scores)),
            grid,
            {name: Budget.over(arcs, ledger.cost(name)) for name, _ in problem.limits},
            tuple(_count_rows(problem, set(arcs.tolist()))),
        )

    def limited(self, resource: str, limit: float) -> PathProgram:
        """The same with a limit on `resource` that is not above its present one.

        Arcs that only the present limit affords are kept: that is as right, only larger.
        """
        kept = [pair for pair in self.problem.limits if pair[0] != resource]
        problem = replace(self.problem, limits=(*kept, (resource, limit)))
        return replace(self, problem=problem)

    @property
    def resources(self) -> tuple[str, ...]:
        """Every resource that the problem names, sorted."""
        return tuple(sorted(self.ledger.costs))

    @property
    def rows(self) -> list[Row]:
        """Limits and counts that every allowed path keeps."""
        return [*(loose for loose, _ in self._bound()), *self.counts]

    @property
    def strict_rows(self) -> list[Row]:
        """Limits and counts that only allowed paths keep."""
        return [*(strict for _, strict in self._bound()), *self.counts]

    def fits(self, path: Sequence[int]) -> bool:
        """Whether the path keeps every limit in the problem's own numbers, correctly summed."""
        return all(self.cost(path, name) <= limit for name, limit in self.problem.limits)

    def cost(self, path: Sequence[int], resource: str) -> float:
        """What the path costs of `resource`."""
        return math.fsum(self.problem.arcs[arc].cost(resource) for arc in path)

    def objective(self, path: Sequence[int]) -> float:
        """The path's score in the problem's own numbers."""
        return math.fsum(self.problem.arcs[arc].score for arc in path)

    def value(self, path: Sequence[int]) -> int:
        """The path's score in integers."""
        return sum(self.values[arc] for arc in path)

    def bound(self, steps: int) -> float:
        """The score that no path can better when no path's integer value is above `steps`."""
        sign = 1 if self.problem.sense == "maximize" else -1
        rounding = 0 if self.grid.exact else self.ledger.graph.nodes  # half a step an arc, amply
        return sign * self.grid.value(steps + rounding)

    def savings(self, resource: str, arcs: Sequence[int]) -> dict[int, int]:
        """Integers, higher where one of `arcs` costs less of `resource`; empty if none costs any.

        The grid is that of all arcs, so that ties do not depend on which are still looked at.
        """
        costs = self.ledger.cost(resource)
        everywhere = costs[np.array(self.arcs, dtype=np.int64)]
        if not everywhere.any():
            return {}
        numbers = np.array(arcs, dtype=np.int64)
        return _table(numbers, -Grid.over(everywhere).nearest(costs[numbers]))

    def _bound(self) -> list[tuple[Row, Row]]:
        pairs = (self.budgets[name].rows(limit) for name, limit in self.problem.limits)
        return [pair for pair in pairs if pair is not None]


def _table(arcs: Indices, numbers: Indices) -> dict[int, int]:
    return dict(zip(arcs.tolist(), numbers.tolist(), strict=True))


def _count_rows(problem: Problem, arcs: set[int]) -> list[Row]:
    if not problem.counts:
        return []
    number = {arc.id: index for index, arc in enumerate(problem.arcs)}
    rows = []
    for count in problem.counts:
        counted = [number[name] for name in count.arcs if number[name] in arcs]
        if count.at_most is not None and count.at_most < len(counted):
            rows.append(Row(dict.fromkeys(counted, 1), count.at_most))
        if count.at_least:
            rows.append(Row(dict.fromkeys(counted, -1), -count.at_least))
    return rows
