"""How good a path through each arc can be at most: Lagrangian relaxation of the rows.

With a price on every row, the best path is a longest path, and the longest path through an arc
bounds every allowed path through it (Geoffrion, "Lagrangean relaxation for integer programming",
1974). A few hundred arcs of many thousands have a bound above the best path; only these need an
integer program. The best price of a single row is found by intersecting lines (Handler and Zang, "A
dual algorithm for the constrained shortest path problem", 1980), those of more rows by Polyak's
subgradient steps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.cpsat import Row
from compiler.longest_paths import Floats, Indices, LongestPaths

STEPS = 150
PATIENCE = 6
"""After so many steps without a lower bound the steps are halved."""

KEPT = 8
"""Relaxed solutions that are kept for the next limits."""


@dataclass(frozen=True, slots=True)
class ArcBounds:
    """What a path through each arc can reach.

    Attributes:
        arcs: The arcs that are bounded.
        bounds: No path through the arc at the same position that keeps the rows is higher.
        path: The best path met that keeps the rows, or ().
        prices: Those of the rows with which the least bound was met, in steps of value a unit.
    """

    arcs: tuple[int, ...]
    bounds: Floats
    path: tuple[int, ...]
    prices: tuple[float, ...]

    def above(self, value: float) -> list[int]:
        """The arcs that a path with at least `value` may use."""
        return [self.arcs[position] for position in np.flatnonzero(self.bounds >= value).tolist()]

    def core(self, size: int) -> tuple[list[int], float]:
        """The `size` arcs with the highest bounds, and the highest bound among the others."""
        if size >= len(self.arcs):
            return list(self.arcs), -np.inf
        ranked = np.argsort(-self.bounds, kind="stable")
        kept = sorted(ranked[:size].tolist())
        return [self.arcs[position] for position in kept], float(self.bounds[ranked[size]])


@dataclass(frozen=True, slots=True)
class _Relaxed:
    """The best walk at some prices, and the best through every arc, rows left aside."""

    prices: Floats
    through: Floats
    path: Indices
    rounding: float


class Relaxation:
    """Bounds for one set of arcs and rows; what is learnt for one limit serves the next."""

    def __init__(
        self,
        longest: LongestPaths,
        arcs: Sequence[int],
        values: Mapping[int, int],
        rows: Sequence[Row],
    ) -> None:
        """Take the arcs (as `longest` has them), what they add, and the rows' coefficients."""
        self._longest, self._arcs, self._rows = longest, tuple(arcs), tuple(rows)
        self._gains = np.array([values.get(arc, 0) for arc in arcs], dtype=np.float64)
        self._columns = [
            np.array([row.coefficients.get(arc, 0) for arc in arcs], dtype=np.float64)
            for row in rows
        ]
        self._solved: OrderedDict[tuple[float, ...], _Relaxed | None] = OrderedDict()
        self._met: list[Indices] = []
        self._prices = np.zeros(len(rows))

    def bounds(self, limits: Sequence[int]) -> ArcBounds:
        """Bound every arc where the rows have these limits."""
        search = _Search(self, np.array(limits, dtype=np.float64))
        relaxed = search.visit(np.zeros(len(limits)))
        if relaxed is not None and len(limits) == 1:
            self._on_the_line(search)
        elif relaxed is not None and len(limits) > 1:
            self._downhill(search)
        path = tuple(self._arcs[position] for position in search.best_path)
        return ArcBounds(self._arcs, search.bounds, path, tuple(search.prices.tolist()))

    def has(self, rows: Sequence[Row]) -> bool:
        """Whether these rows are its rows, their limits left aside."""
        return len(rows) == len(self._rows) and all(
            row.coefficients is own.coefficients for row, own in zip(rows, self._rows, strict=True)
        )

    def solve(self, prices: Floats) -> _Relaxed | None:
        """The relaxed problem at these prices; None if walks have no end."""
        key = tuple(prices.tolist())
        if key not in self._solved:
            self._solved[key] = self._relax(prices)
            if len(self._solved) > KEPT:
                self._solved.popitem(last=False)
        else:
            self._solved.move_to_end(key)
        return self._solved[key]

    def value(self, path: Indices) -> float:
        """What the path is worth."""
        return float(self._gains[path].sum())

    def used(self, path: Indices) -> Floats:
        """What the path uses of every row."""
        return np.array([column[path].sum() for column in self._columns])

    def _relax(self, prices: Floats) -> _Relaxed | None:
        weights = self._gains.copy()
        for price, column in zip(prices.tolist(), self._columns, strict=True):
            if price:
                weights -= price * column
        forth, rest = self._longest.forth(weights), self._longest.rest(weights)
        if forth is None or rest is None:
            return None
        through = forth[self._longest.tails] + weights + rest[self._longest.heads]
        path = self._longest.path(weights, rest)
        return _Relaxed(prices, through, path, self._longest.slack(weights))

    def _on_the_line(self, search: _Search) -> None:
        """Intersect the lines of a path above the limit and of one below it, again and again."""
        if not self._met:
            self._met = [self._cheapest(), *self._paths_at(0.0)]
        while len(pair := self._around(float(search.limits[0]))) == 2:
            (below, less), (above, more) = pair
            price = (self.value(above) - self.value(below)) / (more - less)
            relaxed = search.visit(np.array([price])) if price > 0 else None
            if relaxed is None or not relaxed.path.size:
                return
            reached = self.value(relaxed.path) - price * float(self.used(relaxed.path)[0])
            level = self.value(above) - price * more
            if reached <= level + 1e-9 * max(1.0, abs(level)):
                return
            self._met.append(relaxed.path)

    def _paths_at(self, price: float) -> list[Indices]:
        relaxed = self.solve(np.array([price]))
        return [relaxed.path] if relaxed is not None and relaxed.path.size else []

    def _cheapest(self) -> Indices:
        rest = self._longest.rest(-self._columns[0])
        if rest is None:
            return np.empty(0, dtype=np.int64)
        return self._longest.path(-self._columns[0], rest)

    def _around(self, limit: float) -> list[tuple[Indices, float]]:
        """The paths met that are next to the limit below and above."""
        used = sorted(
            (
                (float(self.used(path)[0]), index)
                for index, path in enumerate(self._met)
                if path.size
            )
        )
        below = [(self._met[index], use) for use, index in used if use <= limit][-1:]
        above = [(self._met[index], use) for use, index in used if use > limit][:1]
        return below + above

    def _downhill(self, search: _Search) -> None:
        """Polyak's steps on rows that are divided by their size, so that one step suits all."""
        sizes = [
            max(abs(limit), float(np.abs(column).max(initial=0)), 1.0)
            for limit, column in zip(search.limits.tolist(), self._columns, strict=True)
        ]
        descent = _Descent(self._prices * sizes, np.array(sizes))
        for _ in range(STEPS):
            relaxed = search.visit(descent.prices / descent.sizes)
            if relaxed is None or not relaxed.path.size:
                return
            slack = (search.limits - self.used(relaxed.path)) / descent.sizes
            if not descent.step(search.level(relaxed), search.best, slack):
                break
        self._prices = search.prices


class _Search:
    """The bounds gathered for one set of limits."""

    def __init__(self, relaxation: Relaxation, limits: Floats) -> None:
        self._relaxation, self.limits = relaxation, limits
        self.bounds = np.full(len(relaxation._arcs), np.inf)
        self.best, self.best_path = -np.inf, np.empty(0, dtype=np.int64)
        self.prices, self._lowest = np.zeros(len(limits)), np.inf

    def visit(self, prices: Floats) -> _Relaxed | None:
        """Lower the bounds by the relaxed problem at these prices."""
        relaxed = self._relaxation.solve(prices)
        if relaxed is None:
            return None
        offset = float(prices @ self.limits)
        rounding = relaxed.rounding + 1e-15 * abs(offset)
        np.minimum(self.bounds, relaxed.through + (offset + rounding), out=self.bounds)
        if (level := self.level(relaxed)) < self._lowest:
            self._lowest, self.prices = level, prices
        if relaxed.path.size and (self._relaxation.used(relaxed.path) <= self.limits).all():
            value = self._relaxation.value(relaxed.path)
            if value > self.best:
                self.best, self.best_path = value, relaxed.path
        return relaxed

    def level(self, relaxed: _Relaxed) -> float:
        """What no path exceeds, by these prices."""
        highest = float(relaxed.through.max(initial=-np.inf))
        return highest + float(relaxed.prices @ self.limits)


class _Descent:
    """Prices that are lowered and raised until the relaxed problem says no more."""

    def __init__(self, prices: Floats, sizes: Floats) -> None:
        self.prices, self.sizes = prices, sizes
        self._lowest, self._scale, self._waited = np.inf, 1.0, 0

    def step(self, relaxed: float, best: float, slack: Floats) -> bool:
        """Move the prices towards a lower bound; False when there is nothing to gain."""
        self._waited = 0 if relaxed < self._lowest - 1e-9 * abs(self._lowest) else self._waited + 1
        self._lowest = min(self._lowest, relaxed)
        if self._waited > PATIENCE:
            self._scale, self._waited = self._scale / 2, 0
        slope = np.where((self.prices <= 0) & (slack > 0), 0.0, slack)
        steepness = float(slope @ slope)
        if steepness < 1e-18 or self._scale < 1e-4 or self._lowest - best < 0.5:
            return False
        target = best if np.isfinite(best) else relaxed - 0.05 * abs(relaxed) - 1
        length = self._scale * max(relaxed - target, 1.0) / steepness
        self.prices = np.maximum(self.prices - length * slope, 0.0)
        return True
