"""Longest paths for many weights of the same arcs, vectorized level by level.

Where the arcs have a cycle, longest walks: every path is a walk, so they bound paths as well. They
are found by repeated sweeps (Bellman 1958) and exist where no cycle adds weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.flow_paths import FlowGraph

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SWEEPS = 60
"""Walks that still become longer after so many sweeps are taken to have no end."""

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class LongestPaths:
    """Arcs sorted once, for longest paths from source to sink under many weights.

    Attributes:
        graph: Where the arcs lead.
        tails: Of every arc, by position.
        heads: Of every arc, by position.
        groups: Positions of the arcs that lead onward, by the level of their tails.
        back: Positions of the arcs that lead back or stay on their level; none without a cycle.
        leaving: Positions sorted by tail.
        first: Where in `leaving` the arcs of every node begin; one longer than the nodes.
        level: Of every node; arcs lead to higher ones, but for those of `back`.
    """

    graph: FlowGraph
    tails: Indices
    heads: Indices
    groups: tuple[Indices, ...]
    back: Indices
    leaving: Indices
    first: Indices
    level: Indices

    @classmethod
    def over(cls, graph: FlowGraph, arcs: Indices) -> LongestPaths:
        """Prepare `arcs` of a graph."""
        numbers = arcs.tolist()
        tails = np.array([graph.tails[arc] for arc in numbers], dtype=np.int64)
        heads = np.array([graph.heads[arc] for arc in numbers], dtype=np.int64)
        leaving = np.argsort(tails, kind="stable")
        first = np.searchsorted(tails[leaving], np.arange(graph.nodes + 1))
        level = _levels(graph, tails, heads, leaving, first)
        onward = level[tails] < level[heads]
        by_level = np.argsort(level[tails], kind="stable")
        by_level = by_level[onward[by_level]]
        _, starts = np.unique(level[tails[by_level]], return_index=True)
        groups = tuple(np.split(by_level, starts[1:])) if by_level.size else ()
        return cls(graph, tails, heads, groups, np.flatnonzero(~onward), leaving, first, level)

    @property
    def acyclic(self) -> bool:
        """Whether every walk is a path."""
        return not self.back.size

    def through(self, weights: Floats) -> Floats | None:
        """The length of the longest walk through every arc; None where walks have no end.

        -inf where no walk from source to sink uses the arc.
        """
        forth, back = self.forth(weights), self.rest(weights)
        if forth is None or back is None:
            return None
        return forth[self.tails] + weights + back[self.heads]

    def forth(self, weights: Floats) -> Floats | None:
        """The longest walk from the source to every node; None where walks have no end."""
        return self._swept(self.graph.source, self.groups, self.tails, self.heads, weights)

    def rest(self, weights: Floats) -> Floats | None:
        """The longest walk from every node to the sink; None where walks have no end."""
        return self._swept(self.graph.sink, self.groups[::-1], self.heads, self.tails, weights)

    def slack(self, weights: Floats) -> float:
        """What rounding may take from a sum of weights along a path, generously."""
        most = min(len(self.groups) + 2, self.graph.nodes) if self.acyclic else self.graph.nodes
        return EPSILON * most * most * float(np.abs(weights).max(initial=0.0))

    def path(self, weights: Floats, rest: Floats) -> Indices:
        """Positions of the longest walk; empty if it returns to a node, or there is none."""
        node, path, seen = self.graph.source, [], set[int]()
        while node != self.graph.sink:
            options = self.leaving[self.first[node] : self.first[node + 1]]
            onward = weights[options] + rest[self.heads[options]]
            if not options.size or node in seen or onward.max() == -np.inf:
                return np.empty(0, dtype=np.int64)
            seen.add(node)
            path.append(int(options[np.argmax(onward)]))
            node = int(self.heads[path[-1]])
        return np.array(path, dtype=np.int64)

    def _swept(
        self, start: int, groups: tuple[Indices, ...], ends: Indices, tips: Indices, weights: Floats
    ) -> Floats | None:
        longest = np.full(self.graph.nodes, -np.inf)
        longest[start] = 0.0
        for _ in range(SWEEPS):
            # Within a group all ends are of one level: they are final before the group begins.
            for group in groups:
                np.maximum.at(longest, tips[group], longest[ends[group]] + weights[group])
            if self.acyclic:
                return longest
            before = longest.copy()
            back = self.back
            np.maximum.at(longest, tips[back], longest[ends[back]] + weights[back])
            if np.array_equal(longest, before):
                return longest
        return None


def _levels(
    graph: FlowGraph, tails: Indices, heads: Indices, leaving: Indices, first: Indices
) -> Indices:
    """A level for every node, above those of its predecessors wherever no cycle forbids it."""
    waiting = np.bincount(heads, minlength=graph.nodes)
    level = np.full(graph.nodes, -1, dtype=np.int64)
    hops: Indices | None = None
    ready = np.flatnonzero(waiting == 0)
    for depth in range(graph.nodes):
        if not ready.size:
            left = np.flatnonzero(level < 0)
            if not left.size:
                break
            # Only a cycle is left: let in those that are nearest to the source.
            hops = _hops(graph, heads, leaving, first) if hops is None else hops
            ready = left[hops[left] == hops[left].min()]
        level[ready] = depth
        reached = heads[_rows(leaving, first, ready)]
        np.subtract.at(waiting, reached, 1)
        touched = np.unique(reached)
        ready = touched[(waiting[touched] == 0) & (level[touched] < 0)]
    return level


def _hops(graph: FlowGraph, heads: Indices, leaving: Indices, first: Indices) -> Indices:
    """The fewest arcs from the source to every node; one more than all nodes if none lead there."""
    hops = np.full(graph.nodes, graph.nodes + 1, dtype=np.int64)
    nodes = np.array([graph.source], dtype=np.int64)
    for count in range(graph.nodes):
        hops[nodes] = count
        nodes = np.unique(heads[_rows(leaving, first, nodes)])
        nodes = nodes[hops[nodes] > graph.nodes]
        if not nodes.size:
            break
    return hops


def _rows(leaving: Indices, first: Indices, nodes: Indices) -> Indices:
    """The arcs that leave any of `nodes`."""
    counts = first[nodes + 1] - first[nodes]
    offsets = np.repeat(first[nodes] - np.cumsum(counts) + counts, counts)
    return leaving[offsets + np.arange(len(offsets))]
