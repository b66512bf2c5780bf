"""All best paths, listed: depth first, by what a path begun so far can still reach.

After Lagrangian pricing the gap between bound and best path is small, and few paths lie in it. They
are listed by branch and bound with longest-path bounds (the "near shortest paths" of Carlyle and
Wood, 2005), so that ties need no search of their own. The work is counted: within its time the same
problem stops at the same place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.cpsat import Row
from compiler.flow_paths import FlowGraph
from compiler.longest_paths import Floats, LongestPaths

STEPS = 60_000
"""Arcs that are looked at before an integer program takes over."""

FIRST_STEPS = 1_000
"""Arcs that are looked at before labels take over, where there is no cycle."""

TIES = 200
"""Paths of equal value that are listed before an integer program takes over."""

Trail = tuple["Trail", int] | tuple[()]
"""The arcs of a path begun, the last one first."""


@dataclass(frozen=True, slots=True)
class Best:
    """Every path of the highest value; none if no path is allowed."""

    value: int
    paths: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A path begun: where it ends, its arcs, value, and use of every row."""

    node: int
    trail: Trail
    value: int
    used: tuple[int, ...]
    reach: float


class GapSearch:
    """The search over a few arcs."""

    def __init__(
        self,
        graph: FlowGraph,
        arcs: Sequence[int],
        values: Mapping[int, int],
        rows: Sequence[Row],
        prices: Sequence[float],
    ) -> None:
        """Prepare the bounds.

        Args:
            graph: Where the arcs lead.
            arcs: The arcs that may be used.
            values: What each adds.
            rows: Linear limits along the path.
            prices: One for each of the first rows; the others are free.
        """
        self._graph, self._values, self._rows = graph, values, rows
        self._leaving = graph.leaving(arcs)
        self.longest = LongestPaths.over(graph, np.array(arcs, dtype=np.int64))
        gains = np.array([values[arc] for arc in arcs], dtype=np.float64)
        columns = [_column(row, arcs) for row in rows]
        priced = list(zip(prices, columns, rows, strict=False))
        weights = gains - sum((price * column for price, column, _ in priced), np.zeros(len(arcs)))
        self._offset = sum(price * row.limit for price, _, row in priced)
        self._prices = [price for price, _, _ in priced]
        self._rest = self.longest.rest(weights)
        self._plain = self.longest.rest(gains)
        self._least = [self.longest.rest(-column) for column in columns]
        self._slack = 2 * self.longest.slack(weights) + 1e-15 * abs(self._offset)

    def best(
        self,
        floor: float,
        allowed: Callable[[tuple[int, ...]], bool],
        most: int,
        deadline: float = math.inf,
    ) -> Best | None:
        """The paths of the highest value that `allowed` says yes to; None after too much work.

        Args:
            floor: Paths of lower value are of no interest.
            allowed: Whether a whole path is.
            most: Arcs that may be looked at.
            deadline: Of `time.monotonic`; what is not listed by then is too much work.
        """
        if self._rest is None or self._plain is None:
            return None
        best, found, steps = floor, list[tuple[int, ...]](), 0
        waiting = [_Begun(self._graph.source, (), 0, (0,) * len(self._rows), np.inf)]
        while waiting:
            begun = waiting.pop()
            if begun.reach < best:
                continue
            if begun.node == self._graph.sink:
                path = _arcs(begun.trail)
                if begun.value >= best and allowed(path):
                    found = [*(found if begun.value == best else ()), path]
                    best = begun.value
                continue
            onward = self._onward(begun, best)
            steps += 1 + len(self._leaving.get(begun.node, ()))
            if steps > most or len(found) > TIES or time.monotonic() > deadline:
                return None
            waiting += sorted(onward, key=lambda each: each.reach)
        return Best(int(best) if found else 0, tuple(found))

    def _onward(self, begun: _Begun, best: float) -> list[_Begun]:
        """The path begun, one arc longer, wherever it can still reach `best`."""
        assert self._rest is not None and self._plain is not None
        longer = []
        for arc in self._leaving.get(begun.node, ()):
            head, value = self._graph.heads[arc], begun.value + self._values[arc]
            if value + self._plain[head] < best - self._slack:
                continue
            used = tuple(
                use + row.coefficients.get(arc, 0)
                for use, row in zip(begun.used, self._rows, strict=True)
            )
            charged = sum(price * use for price, use in zip(self._prices, used, strict=False))
            reach = value - charged + self._rest[head] + self._offset + self._slack
            if reach >= best and self._can_hold(used, head) and not self._returns(begun, head):
                longer.append(_Begun(head, (begun.trail, arc), value, used, float(reach)))
        return longer

    def _can_hold(self, used: tuple[int, ...], node: int) -> bool:
        return all(
            use - least[node] <= row.limit + 1e-6 * abs(row.limit)
            for use, least, row in zip(used, self._least, self._rows, strict=True)
            if least is not None
        )

    def _returns(self, begun: _Begun, node: int) -> bool:
        if self.longest.acyclic:
            return False
        trail = begun.trail
        while trail:
            trail, arc = trail
            if self._graph.tails[arc] == node:
                return True
        return False


def _column(row: Row, arcs: Sequence[int]) -> Floats:
    return np.array([row.coefficients.get(arc, 0) for arc in arcs], dtype=np.float64)


def _arcs(trail: Trail) -> tuple[int, ...]:
    path = []
    while trail:
        trail, arc = trail
        path.append(arc)
    return tuple(reversed(path))
