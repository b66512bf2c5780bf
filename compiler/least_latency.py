"""Least latency: the same networks, where quality is a limit and latency what is looked for.

Costs of a problem are not negative and a limit is on the most, so quality is bounded by what is
lost: each arc costs by how much the best way to its head through it is worse than the best way
there is (the reduced costs of longest paths, as in Johnson's algorithm). Along a path these add up
to the best quality of all networks minus the path's.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compiler.problem import Problem
from targets.errors import UsageError

QUALITY_LOST = "quality_lost"
_SLACK = 1e-9
"""Of a quality, in favour of what is asked for: sums of shares are no more exact than this."""


def least_latency(problem: Problem, least: float) -> Problem:
    """The problem of the fastest network that is expected to be at least this good.

    Args:
        problem: maximizes quality; its arcs cost `latency_us`.
        least: quality, 0 to 1.

    Returns:
        A problem that minimizes `latency_us`, with a limit on `quality_lost`.
    """
    assert problem.sense == "maximize", "its scores are qualities"
    nodes = list(dict.fromkeys([problem.source, problem.sink, *_ends(problem)]))
    number = {node: index for index, node in enumerate(nodes)}
    tails = np.array([number[arc.tail] for arc in problem.arcs], np.int64)
    heads = np.array([number[arc.head] for arc in problem.arcs], np.int64)
    scores = np.array([arc.score for arc in problem.arcs], np.float64)
    best = _best_ways(len(nodes), tails, heads, scores)
    known = np.isfinite(best[tails]) if problem.arcs else np.zeros(0, bool)
    lost = np.where(known, best[heads] - np.where(known, best[tails], 0.0) - scores, 0.0)
    promised = float(best[1])
    aim = max(promised, least) if np.isfinite(promised) else least
    lost = np.maximum(lost, 0.0) + np.where(tails == 0, aim - max(promised, -1.0), 0.0)
    arcs = tuple(
        replace(
            arc, score=arc.cost("latency_us"), costs=(*arc.costs, (QUALITY_LOST, float(amount)))
        )
        for arc, amount in zip(problem.arcs, lost, strict=True)
    )
    limits = (*problem.limits, (QUALITY_LOST, aim - least + _SLACK))
    return replace(problem, sense="minimize", arcs=arcs, limits=limits)


def _ends(problem: Problem) -> list[str]:
    return [node for arc in problem.arcs for node in (arc.tail, arc.head)]


def _best_ways(
    nodes: int, tails: NDArray[np.int64], heads: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The highest score of a way from node 0 to each node (Bellman and Ford); -inf: none."""
    best = np.full(nodes, -np.inf)
    best[0] = 0.0
    for _ in range(nodes):
        before = best.copy()
        np.maximum.at(best, heads, before[tails] + scores)
        if np.all(best <= before + _SLACK * _SLACK):
            return before
    raise UsageError(
        "A cycle of the problem has a score above 0, so that going round it would pay. Lower its "
        "scores: a network gains nothing by repeating blocks."
    )
