"""All best paths of an acyclic graph: labels at every node, level by level, vectorized.

A label is a path begun: its value, and what it uses of every row. Labels that cannot reach the best
known path, by longest-path bounds, are dropped, and with one row those that another one at the same
node beats in value and does not exceed in use (Joksch, "The shortest route problem with
constraints", 1966). The work is counted: within its time the same problem stops at the same place.
The clock is looked at once a level.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.cpsat import Row
from compiler.gap_search import TIES, Best
from compiler.integers import Integers
from compiler.longest_paths import Floats, LongestPaths

LABELS = 60_000
"""Labels of one level before an integer program takes over."""

BEAM = 100
"""Labels of a level in the first, quick search for a good path."""


@dataclass(frozen=True, slots=True)
class _Labels:
    """Paths begun, as arrays: where they end, their value, use, last arc and path before it."""

    node: Integers
    value: Integers
    used: Integers
    arc: Integers
    parent: Integers

    def __len__(self) -> int:
        return len(self.node)

    def kept(self, which: Integers) -> _Labels:
        """Those at these positions."""
        return _Labels(
            self.node[which],
            self.value[which],
            self.used[which],
            self.arc[which],
            self.parent[which],
        )


@dataclass(frozen=True, slots=True)
class Swept:
    """The best paths for every limit of one row, from one search.

    Attributes:
        ended: Labels at the sink.
        begun: Those on the way.
    """

    ended: _Labels
    begun: _Labels

    def best(self, limit: int, allowed: Callable[[tuple[int, ...]], bool]) -> Best | None:
        """The paths of the highest value within a limit; None where that cannot be told."""
        within = np.flatnonzero(self.ended.used[:, 0] <= limit)
        if not within.size:
            return None
        top = int(self.ended.value[within].max())
        ties = within[self.ended.value[within] == top].tolist()
        if len(ties) > TIES:
            return None
        parent, arc = self.ended.parent, self.ended.arc
        paths = [_path(int(parent[tie]), int(arc[tie]), self.begun) for tie in ties]
        kept = tuple(path for path in paths if allowed(path))
        return Best(top, kept) if kept else None


class LabelSearch:
    """The search over a few arcs without a cycle."""

    def __init__(
        self,
        longest: LongestPaths,
        arcs: Sequence[int],
        values: Mapping[int, int],
        rows: Sequence[Row],
        prices: Sequence[float],
        deadline: float = math.inf,
    ) -> None:
        """Prepare the bounds.

        Args:
            longest: Over `arcs`, which have no cycle.
            arcs: The arcs that may be used.
            values: What each adds.
            rows: Linear limits along the path.
            prices: One for each of the first rows; the others are free.
            deadline: Of `time.monotonic`; what is not listed by then is too much work.
        """
        self._deadline = deadline
        self._longest, self._arcs = longest, np.array(arcs, dtype=np.int64)
        self._gains = np.array([values[arc] for arc in arcs], dtype=np.int64)
        uses = [[row.coefficients.get(arc, 0) for arc in arcs] for row in rows]
        self._uses = np.array(uses, dtype=np.int64).reshape(len(rows), len(arcs)).T
        self._limits = np.array([row.limit for row in rows], dtype=np.float64)
        self._prices = np.zeros(len(rows))
        self._prices[: len(prices)] = prices
        weights = self._gains - self._uses @ self._prices
        self._offset = float(self._prices @ self._limits)
        self._slack = 2 * longest.slack(weights) + 1e-14 * abs(self._offset)
        self._rest, self._plain = _rest(longest, weights), _rest(longest, self._gains)
        self._least = [_rest(longest, -uses) for uses in self._uses.T]

    def best(
        self, floor: float, allowed: Callable[[tuple[int, ...]], bool], *, dominance: bool
    ) -> Best | None:
        """The paths of the highest value that `allowed` says yes to; None after too much work.

        Args:
            floor: Paths of lower value are of no interest.
            allowed: Whether a whole path is.
            dominance: Whether a path that is not allowed may stand in for none that is.
        """
        quick = self._ended(floor, allowed, dominance, beam=True)
        floor = max(floor, quick.value) if quick is not None and quick.paths else floor
        return self._ended(floor, allowed, dominance, beam=False)

    def sweep(self, floor: float) -> Swept | None:
        """The best paths for every limit of the only row up to its own; None: too many.

        Args:
            floor: Paths of lower value are of no interest for any limit.
        """
        levels: list[_Labels] = []
        ended = self._spread(floor, True, False, levels)
        return None if ended is None else Swept(ended, _joined([_none(1), *levels]))

    def _ended(
        self, floor: float, allowed: Callable[[tuple[int, ...]], bool], dominance: bool, beam: bool
    ) -> Best | None:
        levels: list[_Labels] = []
        ended = self._spread(floor, dominance and len(self._limits) <= 1, beam, levels)
        if ended is None:
            return None
        begun = _joined([_none(len(self._limits)), *levels])
        found, value = list[tuple[int, ...]](), 0
        for position in np.argsort(-ended.value, kind="stable").tolist():
            if found and int(ended.value[position]) < value:
                break
            path = _path(int(ended.parent[position]), int(ended.arc[position]), begun)
            if allowed(path):
                found, value = [*found, path], int(ended.value[position])
            elif dominance and not beam:
                return None
            if len(found) > TIES:
                return None
        return Best(value, tuple(found))

    def _spread(
        self, floor: float, dominance: bool, beam: bool, levels: list[_Labels]
    ) -> _Labels | None:
        """Grow all labels; those at the sink, and in `levels` those on the way."""
        waiting: dict[int, list[_Labels]] = defaultdict(list)
        depth = self._longest.level
        waiting[int(depth[self._longest.graph.source])].append(self._first())
        ended, made = [_none(len(self._limits))], 0
        for group in self._longest.groups:
            level = int(depth[self._longest.tails[group[0]]])
            labels = _joined([_none(len(self._limits)), *waiting.pop(level, [])])
            if dominance:
                labels = labels.kept(_undominated(labels))
            if beam:
                labels = labels.kept(np.argsort(-self._reach(labels), kind="stable")[:BEAM])
            if len(labels) > LABELS or time.monotonic() > self._deadline:
                return None
            labels = labels.kept(np.argsort(labels.node, kind="stable"))
            levels.append(labels)
            longer = self._longer(labels, group, made, floor)
            made += len(labels)
            at_end = longer.node == self._longest.graph.sink
            ended.append(longer.kept(at_end))
            inner = longer.kept(~at_end)
            for head in np.unique(depth[inner.node]).tolist():
                waiting[head].append(inner.kept(depth[inner.node] == head))
        return _joined(ended)

    def _first(self) -> _Labels:
        zero = np.zeros(1, dtype=np.int64)
        source = np.array([self._longest.graph.source], dtype=np.int64)
        return _Labels(source, zero, np.zeros((1, len(self._limits)), np.int64), zero - 1, zero - 1)

    def _longer(self, labels: _Labels, group: Integers, made: int, floor: float) -> _Labels:
        """Every label, one arc of the group longer, wherever it can still reach the floor."""
        tails = self._longest.tails[group]
        begin = np.searchsorted(labels.node, tails, side="left")
        count = np.searchsorted(labels.node, tails, side="right") - begin
        arc = np.repeat(group, count)
        first = np.repeat(begin - np.cumsum(count) + count, count)
        origin = first + np.arange(len(arc))
        longer = _Labels(
            self._longest.heads[arc],
            labels.value[origin] + self._gains[arc],
            labels.used[origin] + self._uses[arc],
            self._arcs[arc],
            origin + made,
        )
        kept = self._reach(longer) >= floor
        kept &= longer.value + self._plain[longer.node] >= floor - self._slack
        for row, least in enumerate(self._least):
            room = self._limits[row] + 1e-12 * abs(self._limits[row])
            kept &= longer.used[:, row] - least[longer.node] <= room
        return longer.kept(np.flatnonzero(kept))

    def _reach(self, labels: _Labels) -> Floats:
        charged = labels.used @ self._prices
        reach: Floats = labels.value - charged + self._rest[labels.node]
        return reach + (self._offset + self._slack)


def _rest(longest: LongestPaths, weights: Floats | Integers) -> Floats:
    rest = longest.rest(weights.astype(np.float64))
    assert rest is not None, "there is no cycle"
    return rest


def _none(rows: int) -> _Labels:
    nothing = np.zeros(0, dtype=np.int64)
    return _Labels(nothing, nothing, np.zeros((0, rows), np.int64), nothing, nothing)


def _path(label: int, arc: int, begun: _Labels) -> tuple[int, ...]:
    """The arcs up to the last one, `arc`, which was added to a label."""
    path = []
    while arc >= 0:
        path.append(arc)
        label, arc = int(begun.parent[label]), int(begun.arc[label])
    return tuple(reversed(path))


def _joined(parts: Sequence[_Labels]) -> _Labels:
    return _Labels(
        np.concatenate([part.node for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.used for part in parts]),
        np.concatenate([part.arc for part in parts]),
        np.concatenate([part.parent for part in parts]),
    )


def _undominated(labels: _Labels) -> Integers:
    """Labels that none at the same node beats in value without using more; ties are kept."""
    if len(labels) < 2:
        return np.arange(len(labels))
    used = labels.used[:, 0] if labels.used.shape[1] else np.zeros(len(labels), dtype=np.int64)
    order = np.lexsort((-labels.value, used, labels.node))
    _, rank = np.unique(labels.node[order], return_inverse=True)
    low = int(labels.value.min())
    # A node's values lie above all those of the nodes before, so that one running maximum serves.
    lifted = labels.value[order] - low + rank * (int(labels.value.max()) - low + 1)
    return np.sort(order[lifted >= np.maximum.accumulate(lifted)])
