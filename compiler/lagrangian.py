"""How good a path through each arc can be at most: Lagrangian relaxation of the rows.

With a price on every row, the best path is a longest path, and the longest path through an arc
bounds every allowed path through it (Geoffrion, "Lagrangean relaxation for integer programming",
1974). A few hundred arcs of many thousands have a bound above the best path; only these need an
integer program. Prices follow Polyak's subgradient steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.cpsat import Row
from compiler.flow_paths import Floats, FlowGraph, Indices, LongestPaths

STEPS = 150
PATIENCE = 6
"""After so many steps without a lower bound the steps are halved."""


@dataclass(frozen=True, slots=True)
class ArcBounds:
    """What a path through each arc can reach.

    Attributes:
        arcs: The arcs that are bounded.
        bounds: No path through the arc at the same position that keeps the rows is higher.
        path: The best path met that keeps the rows, or ().
    """

    arcs: tuple[int, ...]
    bounds: Floats
    path: tuple[int, ...]

    def above(self, value: float) -> list[int]:
        """The arcs that a path with at least `value` may use."""
        return [arc for arc, bound in zip(self.arcs, self.bounds, strict=True) if bound >= value]

    def core(self, size: int) -> tuple[list[int], float]:
        """The `size` arcs with the highest bounds, and the highest bound among the others."""
        if size >= len(self.arcs):
            return list(self.arcs), -np.inf
        ranked = np.argsort(-self.bounds, kind="stable")
        kept = sorted(ranked[:size].tolist())
        return [self.arcs[position] for position in kept], float(self.bounds[ranked[size]])


class _Prices:
    """The rows as arrays, each divided by its size so that one step suits all."""

    def __init__(self, arcs: Sequence[int], rows: Sequence[Row]) -> None:
        position = {arc: index for index, arc in enumerate(arcs)}
        sizes = [max(abs(row.limit), *map(abs, row.coefficients.values()), 1) for row in rows]
        entries = [
            (index, position[arc], coefficient / size)
            for index, (row, size) in enumerate(zip(rows, sizes, strict=True))
            for arc, coefficient in row.coefficients.items()
            if arc in position
        ]
        self.count = len(arcs)
        self.row = np.array([entry[0] for entry in entries], dtype=np.int64)
        self.arc = np.array([entry[1] for entry in entries], dtype=np.int64)
        self.coefficient = np.array([entry[2] for entry in entries], dtype=np.float64)
        self.limits = np.array([row.limit / size for row, size in zip(rows, sizes, strict=True)])

    def charge(self, prices: Floats) -> Floats:
        """What an arc costs at these prices."""
        charged: Floats = np.bincount(
            self.arc, weights=self.coefficient * prices[self.row], minlength=self.count
        ).astype(np.float64)
        return charged

    def slack(self, path: Indices) -> Floats:
        """What the path leaves of every row's limit; negative where it breaks the row."""
        on_path = np.isin(self.arc, path)
        used = np.bincount(
            self.row[on_path], weights=self.coefficient[on_path], minlength=len(self.limits)
        )
        left: Floats = self.limits - used
        return left


class _Descent:
    """Prices that are lowered and raised until the relaxed problem says no more."""

    def __init__(self, longest: LongestPaths, gains: Floats, table: _Prices) -> None:
        self._longest, self._gains, self._table = longest, gains, table
        self._prices = np.zeros(len(table.limits))
        self._lowest, self._scale, self._waited = np.inf, 1.0, 0
        self.bounds = np.full(len(gains), np.inf)

    def relax(self) -> tuple[float, Indices]:
        """Solve at the present prices: an upper bound for all paths, and the relaxed path."""
        through, path = self._longest.through(self._gains - self._table.charge(self._prices))
        offset = float(self._prices @ self._table.limits)
        largest = float(np.abs(self._gains).max()) + float(np.abs(self._prices).sum())
        rounding = 1e-14 * largest * (len(path) + len(self._prices) + 1)
        self.bounds = np.minimum(self.bounds, through + offset + rounding)
        return float(through.max()) + offset, path

    def step(self, relaxed: float, best: float, slack: Floats) -> bool:
        """Move the prices towards a lower bound; False when there is nothing to gain."""
        self._waited = 0 if relaxed < self._lowest - 1e-9 * abs(self._lowest) else self._waited + 1
        self._lowest = min(self._lowest, relaxed)
        if self._waited > PATIENCE:
            self._scale, self._waited = self._scale / 2, 0
        slope = np.where((self._prices <= 0) & (slack > 0), 0.0, slack)
        steepness = float(slope @ slope)
        if steepness < 1e-18 or self._scale < 1e-4 or self._lowest - best < 0.5:
            return False
        target = best if np.isfinite(best) else relaxed - 0.05 * abs(relaxed) - 1
        length = self._scale * max(relaxed - target, 1.0) / steepness
        self._prices = np.maximum(self._prices - length * slope, 0.0)
        return True


def arc_bounds(
    graph: FlowGraph,
    arcs: Sequence[int],
    order: Sequence[int],
    values: Mapping[int, int],
    rows: Sequence[Row],
) -> ArcBounds:
    """Bound every arc of an acyclic graph; `order` is one that the arcs follow."""
    gains = np.array([values.get(arc, 0) for arc in arcs], dtype=np.float64)
    table = _Prices(arcs, rows)
    descent = _Descent(LongestPaths.over(graph, arcs, order), gains, table)
    best, best_path = -np.inf, tuple[int, ...]()
    for _ in range(STEPS):
        relaxed, positions = descent.relax()
        path = tuple(arcs[position] for position in positions)
        value = float(gains[positions].sum())
        if value > best and all(row.holds(path) for row in rows):
            best, best_path = value, path
        if not descent.step(relaxed, best, table.slack(positions)):
            break
    return ArcBounds(tuple(arcs), descent.bounds, best_path)
