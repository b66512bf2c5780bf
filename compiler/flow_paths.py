"""Walks and paths in the solver's graph: what can be reached, cheapest walks, longest paths.

Nodes and arcs are numbered; weights are arrays over the arcs. Parallel arcs and cycles are allowed.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FlowGraph:
    """A directed multigraph; arc `i` leads from `tails[i]` to `heads[i]`."""

    nodes: int
    source: int
    sink: int
    tails: tuple[int, ...]
    heads: tuple[int, ...]
    leaving: tuple[tuple[int, ...], ...] = field(init=False, repr=False)
    entering: tuple[tuple[int, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """List the arcs at every node once."""
        object.__setattr__(self, "leaving", _arcs_at(self.nodes, self.tails))
        object.__setattr__(self, "entering", _arcs_at(self.nodes, self.heads))

    def on_some_walk(self, arcs: Sequence[int]) -> list[int]:
        """Those of `arcs` that a walk from source to sink over `arcs` alone can use.

        A simple path never returns to the source, leaves the sink or stays where it is, so arcs
        that do are left out.
        """
        inner = {
            arc
            for arc in arcs
            if self.heads[arc] not in (self.source, self.tails[arc])
            and self.tails[arc] != self.sink
        }
        after = _reached(self.source, self.leaving, self.heads, inner)
        before = _reached(self.sink, self.entering, self.tails, inner)
        return [
            arc
            for arc in arcs
            if arc in inner and self.tails[arc] in after and self.heads[arc] in before
        ]

    def affordable(
        self, arcs: Sequence[int], costs: Mapping[int, float], limit: float
    ) -> list[int]:
        """Those of `arcs` whose cheapest walk from source to sink does not exceed `limit`.

        The cheapest walk is no dearer than the cheapest path, so no allowed arc is lost where there
        are cycles. Costs are not negative; arcs without a cost are free.
        """
        kept = set(arcs)
        forth = _cheapest(self.source, self.leaving, self.heads, costs, kept)
        back = _cheapest(self.sink, self.entering, self.tails, costs, kept)
        allowed = limit * (1 + 1e-12)  # more than the rounding of a few thousand additions
        infinite = float("inf")
        return [
            arc
            for arc in arcs
            if forth.get(self.tails[arc], infinite)
            + costs.get(arc, 0.0)
            + back.get(self.heads[arc], infinite)
            <= allowed
        ]

    def order(self, arcs: Sequence[int]) -> list[int] | None:
        """The nodes in an order that every one of `arcs` follows, or None if they have a cycle."""
        kept = set(arcs)
        waiting = [0] * self.nodes
        for arc in arcs:
            waiting[self.heads[arc]] += 1
        ready = [node for node in range(self.nodes) if not waiting[node]]
        done = []
        while ready:
            node = ready.pop()
            done.append(node)
            for arc in self.leaving[node]:
                if arc in kept:
                    waiting[self.heads[arc]] -= 1
                    if not waiting[self.heads[arc]]:
                        ready.append(self.heads[arc])
        return done if len(done) == self.nodes else None

    def in_path_order(self, chosen: Sequence[int]) -> tuple[int, ...]:
        """The arcs of one simple path from source to sink, put in the order of travel."""
        by_tail = {self.tails[arc]: arc for arc in chosen}
        node, path = self.source, []
        while node != self.sink:
            path.append(by_tail[node])
            node = self.heads[path[-1]]
        return tuple(path)


@dataclass(frozen=True, slots=True)
class LongestPaths:
    """Longest paths in an acyclic graph for many weights: arcs are sorted by level once."""

    graph: FlowGraph
    tails: Indices
    heads: Indices
    levels: tuple[Indices, ...]
    leaving: dict[int, Indices]

    @classmethod
    def over(cls, graph: FlowGraph, arcs: Sequence[int], order: Sequence[int]) -> LongestPaths:
        """Prepare `arcs`, which must all follow `order`."""
        depth = [0] * graph.nodes
        kept = set(arcs)
        for node in order:
            for arc in graph.leaving[node]:
                if arc in kept:
                    depth[graph.heads[arc]] = max(depth[graph.heads[arc]], depth[node] + 1)
        tails = np.array([graph.tails[arc] for arc in arcs], dtype=np.int64)
        heads = np.array([graph.heads[arc] for arc in arcs], dtype=np.int64)
        level = np.array(depth, dtype=np.int64)[tails]
        groups = [np.flatnonzero(level == value) for value in np.unique(level)]
        by_tail = np.argsort(tails, kind="stable")
        nodes, first = np.unique(tails[by_tail], return_index=True)
        leaving = dict(zip(nodes.tolist(), np.split(by_tail, first[1:]), strict=True))
        return cls(graph, tails, heads, tuple(groups), leaving)

    def through(self, weights: Floats) -> tuple[Floats, Indices]:
        """The longest path through every arc, and the positions of the longest of all."""
        forth = np.full(self.graph.nodes, -np.inf)
        forth[self.graph.source] = 0.0
        # Within a level, tails are of that level: their values are final before the level begins.
        for group in self.levels:
            np.maximum.at(forth, self.heads[group], forth[self.tails[group]] + weights[group])
        back = np.full(self.graph.nodes, -np.inf)
        back[self.graph.sink] = 0.0
        for group in reversed(self.levels):
            np.maximum.at(back, self.tails[group], weights[group] + back[self.heads[group]])
        onward = weights + back[self.heads]
        return forth[self.tails] + onward, self._follow(onward)

    def _follow(self, onward: Floats) -> Indices:
        """From the source on, the arc with the longest rest at every node."""
        node, path = self.graph.source, []
        while node != self.graph.sink:
            options = self.leaving[node]
            path.append(int(options[np.argmax(onward[options])]))
            node = int(self.heads[path[-1]])
        return np.array(path, dtype=np.int64)


def _arcs_at(nodes: int, ends: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    arcs: list[list[int]] = [[] for _ in range(nodes)]
    for arc, node in enumerate(ends):
        arcs[node].append(arc)
    return tuple(tuple(listed) for listed in arcs)


def _reached(
    start: int, arcs_at: Sequence[Sequence[int]], ends: Sequence[int], kept: set[int]
) -> set[int]:
    seen, waiting = {start}, [start]
    while waiting:
        for arc in arcs_at[waiting.pop()]:
            if arc in kept and ends[arc] not in seen:
                seen.add(ends[arc])
                waiting.append(ends[arc])
    return seen


def _cheapest(
    start: int,
    arcs_at: Sequence[Sequence[int]],
    ends: Sequence[int],
    costs: Mapping[int, float],
    kept: set[int],
) -> dict[int, float]:
    """Dijkstra's distances over the kept arcs."""
    distance: dict[int, float] = {}
    heap = [(0.0, start)]
    while heap:
        cost, node = heapq.heappop(heap)
        if node in distance:
            continue
        distance[node] = cost
        for arc in arcs_at[node]:
            if arc in kept and ends[arc] not in distance:
                heapq.heappush(heap, (cost + costs.get(arc, 0.0), ends[arc]))
    return distance
