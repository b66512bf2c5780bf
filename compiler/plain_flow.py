"""The plain flow model: one integer program over all arcs, as one writes it down first.

It is the baseline of `benchmarks/assembly.py` and an oracle for tests: no bounds, no core, no ties.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from compiler.cpsat import Effort, Row, best_path
from compiler.flow_paths import FlowGraph
from compiler.integers import Grid
from compiler.problem import Problem


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """What the plain model says.

    Attributes:
        proven: Whether the path is the best there is, or there is none.
        arcs: The path's arc ids; empty without a path.
        objective: Their summed score, None without a path.
        wall_s: Seconds, building the model included.
    """

    proven: bool
    arcs: tuple[str, ...]
    objective: float | None
    wall_s: float


def plain_best(
    problem: Problem, *, time_limit_s: float = 60, seed: int = 0, workers: int = 1
) -> PlainAnswer:
    """The best path, by CP-SAT alone; costs are rounded up and limits down."""
    started = time.monotonic()
    scores = np.array([arc.score for arc in problem.arcs])
    sign = 1 if problem.sense == "maximize" else -1
    steps = (sign * Grid.over(scores).nearest(scores)).tolist()
    answer = best_path(
        _graph(problem),
        range(len(problem.arcs)),
        dict(enumerate(steps)),
        [*_limits(problem), *_counts(problem)],
        (),
        Effort(time_limit_s, seed, workers),
    )
    path = [problem.arcs[arc] for arc in answer.path or ()]
    objective = sum(arc.score for arc in path) if path else None
    return PlainAnswer(
        answer.proven, tuple(arc.id for arc in path), objective, time.monotonic() - started
    )


def _graph(problem: Problem) -> FlowGraph:
    number = {problem.source: 0, problem.sink: 1}
    tails = tuple([number.setdefault(arc.tail, len(number)) for arc in problem.arcs])
    heads = tuple([number.setdefault(arc.head, len(number)) for arc in problem.arcs])
    return FlowGraph(len(number), 0, 1, tails, heads)


def _limits(problem: Problem) -> list[Row]:
    rows = []
    for name, limit in problem.limits:
        costs = np.array([min(arc.cost(name), 2 * limit + 1) for arc in problem.arcs])
        grid = Grid.over(costs)
        rows.append(Row(dict(enumerate(grid.up(costs).tolist())), grid.below(limit)))
    return rows


def _counts(problem: Problem) -> list[Row]:
    number = {arc.id: index for index, arc in enumerate(problem.arcs)}
    rows = []
    for count in problem.counts:
        counted = [number[name] for name in count.arcs]
        if count.at_most is not None:
            rows.append(Row(dict.fromkeys(counted, 1), count.at_most))
        if count.at_least is not None:
            rows.append(Row(dict.fromkeys(counted, -1), -count.at_least))
    return rows
