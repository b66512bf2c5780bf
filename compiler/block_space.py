"""Block space: every block that a partition may have, and the best cut points for given anchors.

With the anchors of the sets fixed, each donor's best K contiguous blocks are found exactly by
dynamic programming over its boundaries, for all donors and for many choices of anchors at once. An
anchor has to be a block of its own donor's partition: every block that overlaps it is closed, so
that all partitions that are left contain it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.block_caps import Caps, legal_blocks
from compiler.similarity_table import Float, SimilarityTable

Int = NDArray[np.int64]

QUANTUM = 2.0**-30
"""Similarities are rounded to multiples of this: sums are then exact, and ties are real ties."""

OWN = 2.0
"""Similarity of a block with itself."""

CHUNK = 2**21
"""Numbers held at once for each step over many choices of anchors."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The blocks that end at one boundary number, of all donors.

    Attributes:
        blocks: the blocks, next to each other.
        enter: rows of the boundaries where they begin.
        groups: where each donor's blocks begin among them.
        leave: the row where each such donor's blocks end.
        rows: this boundary's row of every donor that has it, whether a block ends there or not.
    """

    blocks: slice
    enter: Int
    groups: Int
    leave: Int
    rows: Int


class BlockSpace:
    """The blocks that the caps allow, and exact cut points for any anchors.

    Blocks are numbered by the boundary where they end, then by donor, then by their start. Only
    blocks that some partition into K uses are there. The similarity of two blocks is that of the
    boundaries where they begin plus that of those where they end (Yang et al. 2022, equations 3 to
    5, with the true inputs of both blocks); of a block with itself it is 2.

    Attributes:
        table: similarities of all boundaries; its order numbers donors and rows.
        k: blocks of every donor.
        donor: every block's donor, (blocks,), as `start` and `end`.
        start: boundary number in its donor where a block begins: its first node.
        end: boundary number where it ends: its last node + 1.
        enter: row of the table where it begins.
        leave: row of the table where it ends.
        firsts: row of every donor's first boundary, (donors,).
        lasts: row of every donor's last boundary, (donors,).
        steps: the blocks in the order in which partitions are grown.
    """

    def __init__(self, table: SimilarityTable, k: int, caps: Caps) -> None:
        """Find the blocks.

        Raises:
            UsageError: a donor cannot be cut into `k` blocks, or not within the caps.
        """
        self.table = table
        self.k = k
        self.firsts = np.array(table.offsets)
        self.lasts = self.firsts + [len(model) for model in table.models]
        spans = [
            (end, donor, start)
            for donor, model in enumerate(table.models)
            for start, end in np.argwhere(legal_blocks(model, k, caps))
        ]
        self.end, self.donor, self.start = np.array(sorted(spans)).T
        self.enter = self.firsts[self.donor] + self.start
        self.leave = self.firsts[self.donor] + self.end
        self.steps = tuple(self._step(end) for end in range(1, max(map(len, table.models)) + 1))
        self._similarity = np.rint(table.values / QUANTUM) * QUANTUM
        self._rivals = self._find_rivals()
        self._ending = np.bincount(self.leave, minlength=len(table.values))
        self._first_ending = np.zeros_like(self._ending)
        rows, where = np.unique(self.leave, return_index=True)
        self._first_ending[rows] = where

    def __len__(self) -> int:
        return len(self.donor)

    def similarity(self, blocks: Int, anchors: Int) -> Float:
        """S of every block to every anchor, (blocks, anchors)."""
        found: Float = self._similarity[:, self.enter[anchors]][self.enter[blocks]]
        found += self._similarity[:, self.leave[anchors]][self.leave[blocks]]
        found[blocks[:, None] == anchors[None, :]] = OWN
        return found

    def rivals(self, block: int) -> Int:
        """The other blocks of its donor that overlap it: no partition has both."""
        return self._rivals[block]

    def close_rivals(self, worth: Float, anchors: Int) -> None:
        """Set -inf, in the column of every anchor, at the blocks that overlap it."""
        for column, anchor in enumerate(anchors):
            worth[self._rivals[anchor], column] = -np.inf

    def chunks(self, blocks: Int) -> list[Int]:
        """`blocks` in runs so short that a number for every block with each can be held."""
        return np.array_split(blocks, max(1, -(-len(blocks) * len(self) // CHUNK)))

    def worth(self, anchors: Int) -> Float:
        """What every block adds to a partition around these anchors, (blocks,).

        Its similarity to the nearest anchor; 2 for the anchors, -inf for what overlaps one.
        """
        found = np.full(len(self), -np.inf)
        if len(anchors):
            found = self.similarity(np.arange(len(self)), anchors).max(axis=1)
        found[anchors] = OWN
        for anchor in anchors:
            found[self._rivals[anchor]] = -np.inf
        return found

    def values(self, fixed: Int, candidates: Int) -> Float:
        """The objective around the `fixed` anchors and one candidate, for each, (candidates,).

        -inf where no partition contains these anchors, or the candidate is one of them.
        """
        base = self.worth(fixed)
        closed = np.concatenate([np.empty(0, np.int64), *(self._rivals[a] for a in fixed)])
        parts = [self._values(base, fixed, closed, part) for part in self.chunks(candidates)]
        found = np.concatenate(parts)
        found[np.isin(candidates, [*fixed, *closed])] = -np.inf
        return found

    def _values(self, base: Float, fixed: Int, closed: Int, candidates: Int) -> Float:
        worth = self.similarity(np.arange(len(self)), candidates)
        np.maximum(worth, base[:, None], out=worth)
        worth[closed] = -np.inf
        worth[fixed] = OWN
        self.close_rivals(worth, candidates)
        worth[candidates, np.arange(len(candidates))] = OWN
        totals: Float = self.forward(worth)[self.k, self.lasts].sum(axis=0)
        return totals

    def forward(self, worth: Float) -> Float:
        """The best sum of i blocks that lead from a donor's start to each boundary.

        Args:
            worth: what each block adds, (blocks, cases).

        Returns:
            (K + 1, rows of the table, cases); -inf where no i blocks lead.
        """
        best = np.full((self.k + 1, len(self.table.values), worth.shape[1]), -np.inf)
        best[0, self.firsts] = 0.0
        for step in self.steps:
            if len(step.groups):
                reached = best[:-1, step.enter] + worth[step.blocks]
                best[1:, step.leave] = np.maximum.reduceat(reached, step.groups, axis=1)
        return best

    def backward(self, worth: Float) -> Float:
        """The best sum of i blocks that lead from each boundary to its donor's end.

        Args:
            worth: what each block adds, (blocks,).

        Returns:
            (K + 1, rows of the table); -inf where no i blocks lead.
        """
        best = np.full((self.k + 1, len(self.table.values)), -np.inf)
        best[0, self.lasts] = 0.0
        for i in range(self.k):
            np.maximum.at(best[i + 1], self.enter, worth + best[i, self.leave])
        return best

    def disjoint(self, worth: Float) -> Float:
        """The best sum of any number of disjoint blocks of a donor up to each boundary.

        Args:
            worth: what each block adds, (blocks, cases).

        Returns:
            (rows of the table, cases).
        """
        best = np.zeros((len(self.table.values), worth.shape[1]))
        for step in self.steps:
            best[step.rows] = best[step.rows - 1]
            if len(step.groups):
                reached = best[step.enter] + worth[step.blocks]
                ending = np.maximum.reduceat(reached, step.groups, axis=0)
                best[step.leave] = np.maximum(best[step.leave], ending)
        return best

    def chosen(self, best: Float, worth: Float) -> Iterator[int]:
        """The blocks of one case of `disjoint`: its sums, (rows,), and worth, (blocks,)."""
        for first, last in zip(self.firsts, self.lasts, strict=True):
            row = last
            while row > first:
                if best[row] > best[row - 1]:
                    block = self.best_ending(row, best, worth)
                    yield block
                    row = self.enter[block]
                else:
                    row -= 1

    def partition(self, worth: Float) -> Int | None:
        """The blocks of the best partition of every donor, (donors, K); None: there is none.

        Among equally good ones it takes, from the last block on, the longest.
        """
        best = self.forward(worth[:, None])[..., 0]
        if not np.isfinite(best[self.k, self.lasts]).all():
            return None
        found = np.empty((len(self.lasts), self.k), dtype=np.int64)
        for donor, row in enumerate(self.lasts):
            for i in reversed(range(self.k)):
                block = self.best_ending(row, best[i], worth)
                found[donor, i] = block
                row = self.enter[block]
        return found

    def best_ending(self, row: int, before: Float, worth: Float) -> int:
        """The block by which the best sum reaches a boundary.

        Args:
            row: the boundary.
            before: the best sums at all boundaries without that block.
            worth: what each block adds, (blocks,).
        """
        first, count = self._first_ending[row], self._ending[row]
        blocks = slice(first, first + count)
        return int(first + (before[self.enter[blocks]] + worth[blocks]).argmax())

    def _step(self, end: int) -> Step:
        first, last = np.searchsorted(self.end, [end, end + 1])
        donors, groups = np.unique(self.donor[first:last], return_index=True)
        return Step(
            slice(int(first), int(last)),
            self.enter[first:last],
            groups,
            self.firsts[donors] + end,
            self.firsts[self.lasts >= self.firsts + end] + end,
        )

    def _find_rivals(self) -> tuple[Int, ...]:
        found: list[Int] = [np.empty(0, np.int64)] * len(self)
        for donor in range(len(self.firsts)):
            own = np.flatnonzero(self.donor == donor)
            start, end = self.start[own], self.end[own]
            meet = (start[:, None] < end[None, :]) & (end[:, None] > start[None, :])
            np.fill_diagonal(meet, False)
            for block, others in zip(own, meet, strict=True):
                found[block] = own[others]
        return tuple(found)
