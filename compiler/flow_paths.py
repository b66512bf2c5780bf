"""The solver's graph: what a walk can use, whether there are cycles, and paths put in order.

Nodes and arcs are numbered. Parallel arcs and cycles are allowed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlowGraph:
    """A directed multigraph; arc `i` leads from `tails[i]` to `heads[i]`."""

    nodes: int
    source: int
    sink: int
    tails: tuple[int, ...]
    heads: tuple[int, ...]

    def leaving(self, arcs: Iterable[int]) -> dict[int, list[int]]:
        """Those of `arcs` that leave each node."""
        return _by_end(self.tails, arcs)

    def entering(self, arcs: Iterable[int]) -> dict[int, list[int]]:
        """Those of `arcs` that enter each node."""
        return _by_end(self.heads, arcs)

    def may_be_inner(self, arc: int) -> bool:
        """Whether a simple path can use the arc: none returns to the source or leaves the sink."""
        tail, head = self.tails[arc], self.heads[arc]
        return head not in (self.source, tail) and tail != self.sink

    def on_some_walk(self, arcs: Sequence[int]) -> list[int]:
        """Those of `arcs` that a walk from source to sink over `arcs` alone can use.

        A simple path never returns to the source, leaves the sink or stays where it is, so arcs
        that do are left out.
        """
        inner = [arc for arc in arcs if self.may_be_inner(arc)]
        after = _reached(self.source, self.leaving(inner), self.heads)
        before = _reached(self.sink, self.entering(inner), self.tails)
        return [arc for arc in inner if self.tails[arc] in after and self.heads[arc] in before]

    def has_cycle(self, arcs: Sequence[int]) -> bool:
        """Whether one can walk in a circle over `arcs`."""
        leaving = self.leaving(arcs)
        waiting = {node: len(entered) for node, entered in self.entering(arcs).items()}
        ready = [node for node in leaving if node not in waiting]
        done = 0
        while ready:
            for arc in leaving.get(ready.pop(), ()):
                done += 1
                waiting[self.heads[arc]] -= 1
                if not waiting[self.heads[arc]]:
                    ready.append(self.heads[arc])
        return done < len(arcs)

    def in_path_order(self, chosen: Sequence[int]) -> tuple[int, ...]:
        """The arcs of one simple path from source to sink, put in the order of travel."""
        by_tail = {self.tails[arc]: arc for arc in chosen}
        node, path = self.source, []
        while node != self.sink:
            path.append(by_tail[node])
            node = self.heads[path[-1]]
        return tuple(path)


def _by_end(ends: Sequence[int], arcs: Iterable[int]) -> dict[int, list[int]]:
    listed: dict[int, list[int]] = defaultdict(list)
    for arc in arcs:
        listed[ends[arc]].append(arc)
    return dict(listed)


def _reached(start: int, arcs_at: Mapping[int, list[int]], ends: Sequence[int]) -> set[int]:
    seen, waiting = {start}, [start]
    while waiting:
        for arc in arcs_at.get(waiting.pop(), ()):
            if ends[arc] not in seen:
                seen.add(ends[arc])
                waiting.append(ends[arc])
    return seen
