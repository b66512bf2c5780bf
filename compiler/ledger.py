"""A problem's arcs as arrays: ends, scores, and what they cost of every resource."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.flow_paths import FlowGraph
from compiler.longest_paths import Floats, Indices, LongestPaths
from compiler.problem import Problem
from targets.errors import UsageError

_ROUNDING = 1e-12
"""More than the relative rounding of the sum over a few thousand arcs."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What every limit on the same arcs shares; made once for a front.

    Attributes:
        graph: The arcs, numbered as in the problem.
        scores: Of every arc.
        costs: Of every arc, by resource; 0 where it names none.
        arcs: The numbers of the arcs on walks from source to sink.
    """

    graph: FlowGraph
    scores: Floats
    costs: dict[str, Floats]
    arcs: Indices

    @classmethod
    def of(cls, problem: Problem) -> Ledger:
        """Number the boundaries and list the costs."""
        graph = _graph(problem)
        scores = np.array([arc.score for arc in problem.arcs], dtype=np.float64)
        inner = np.array(
            [arc for arc in range(len(scores)) if graph.may_be_inner(arc)], dtype=np.int64
        )
        costs = _costs(problem)
        _check_sums(problem, scores, costs)
        return cls(graph, scores, costs, _on_walks(graph, inner))

    def cost(self, resource: str) -> Floats:
        """What every arc costs of `resource`."""
        known = self.costs.get(resource)
        return np.zeros(len(self.scores)) if known is None else known

    def affordable(self, limits: Sequence[tuple[str, float]]) -> Indices:
        """The arcs whose cheapest walk from source to sink exceeds no single limit.

        The cheapest walk is no dearer than the cheapest path, so no allowed arc is lost.
        """
        arcs, before = self.arcs, -1
        while arcs.size != before:
            before = arcs.size
            for name, limit in limits:
                arcs = self._within(arcs, self.cost(name), limit)
        return arcs

    def _within(self, arcs: Indices, costs: Floats, limit: float) -> Indices:
        if float(costs[arcs].sum()) <= limit:
            return arcs
        arcs = arcs[costs[arcs] <= limit]
        walks = LongestPaths.over(self.graph, arcs).through(-costs[arcs])
        if walks is None:  # so many sweeps that nothing can be told
            return arcs
        return arcs[-walks <= limit * (1 + _ROUNDING)]


def _graph(problem: Problem) -> FlowGraph:
    number = {problem.source: 0, problem.sink: 1}
    tails = tuple([number.setdefault(arc.tail, len(number)) for arc in problem.arcs])
    heads = tuple([number.setdefault(arc.head, len(number)) for arc in problem.arcs])
    return FlowGraph(len(number), 0, 1, tails, heads)


def _costs(problem: Problem) -> dict[str, Floats]:
    count = len(problem.arcs)
    listed: dict[str, list[float]] = {name: [0.0] * count for name, _ in problem.limits}
    for number, arc in enumerate(problem.arcs):
        for name, amount in arc.costs:
            if name not in listed:
                listed[name] = [0.0] * count
            listed[name][number] = amount
    return {name: np.array(amounts) for name, amounts in listed.items()}


def _check_sums(problem: Problem, scores: Floats, costs: dict[str, Floats]) -> None:
    """Refuse numbers so large that a path's sum has no float."""
    with np.errstate(over="ignore"):
        sums = {"scores": np.abs(scores).sum()} | {
            f"costs of '{name}'": amounts.sum() for name, amounts in costs.items()
        }
    for what, total in sums.items():
        if not np.isfinite(total):
            raise UsageError(
                f"The {what} of the {len(problem.arcs)} arcs are too large to be added up. "
                "Give them in a larger unit."
            )


def _on_walks(graph: FlowGraph, arcs: Indices) -> Indices:
    walks = LongestPaths.over(graph, arcs).through(np.zeros(len(arcs)))
    return arcs if walks is None else arcs[walks > -np.inf]
