"""Searching a program: the best path, ties broken the same way everywhere, and what is proven.

The search is exact. Only arcs whose bound reaches the best path are given to the solver, a core
that grows until no arc outside can matter; a path that the integers allow but the problem's own
numbers do not is cut off and the search goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from compiler.cpsat import UNDECIDED, Answer, Effort, Row, best_path
from compiler.lagrangian import ArcBounds, arc_bounds
from compiler.path_program import PathProgram

CORE = 150
"""Arcs in the first core."""

GROWTH = 4

RETRIES = 25
"""After so many paths that only the rounded budgets allow, budgets are rounded the strict way."""


class PathSearch:
    """Answers for one program; what is learnt for one answer serves the next."""

    def __init__(self, program: PathProgram, seed: int, workers: int) -> None:
        self._program = program
        self._seed = seed
        self._workers = workers
        self._cuts: list[frozenset[int]] = []
        self._deadline = 0.0
        self._arc_bounds: ArcBounds | None = None

    def best(self, seconds: float, tie_break: str | None) -> Answer:
        """The best path that no cut forbids, found within `seconds`.

        Among paths of the same integer value the one with the least `tie_break` is taken, and among
        these the one whose arc ids, read from the source on, come first in the alphabet. If time
        runs out meanwhile, the best tie so far.
        """
        self._deadline = time.monotonic() + seconds
        answer = self._checked(self._highest)
        if answer.path is None or not answer.proven:
            return answer
        path = self._least_tied(answer.path, answer.value, tie_break)
        return Answer(path, answer.value, answer.bound, proven=True)

    def forbid(self, arcs: frozenset[int]) -> None:
        """No further answer contains all of `arcs`."""
        self._cuts.append(arcs)

    def _checked(self, solve: Callable[[Sequence[Row]], Answer]) -> Answer:
        """Solve until the answer keeps the limits in the problem's own numbers."""
        answer = UNDECIDED
        for _ in range(RETRIES):
            answer = solve(self._program.rows)
            if answer.path is None or self._program.fits(answer.path):
                return answer
            self.forbid(frozenset(answer.path))
        strict = solve(self._program.strict_rows)
        reached = strict.path is not None and answer.proven and strict.value == answer.value
        return Answer(strict.path, strict.value, answer.bound, proven=reached)

    def _highest(self, rows: Sequence[Row]) -> Answer:
        """The path of highest value, proven on a core of the arcs."""
        bounds = self._bounds()
        core, rest = bounds.core(CORE if self._program.order else len(bounds.arcs))
        while True:
            answer = self._solve(core, self._program.values, rows, hint=bounds.path)
            if not answer.proven:
                return self._unfinished(answer, rows, rest)
            if rest == -np.inf or (answer.path is not None and rest < answer.value):
                return answer
            reaching = bounds.above(answer.value) if answer.path else list(bounds.arcs)
            if len(reaching) <= GROWTH * len(core):
                core, rest = reaching, -np.inf
            else:
                core, rest = bounds.core(GROWTH * len(core))

    def _unfinished(self, answer: Answer, rows: Sequence[Row], rest: float) -> Answer:
        """The best that is known when time ran out."""
        known = self._bounds()
        path, value = answer.path, answer.value
        if (
            known.path
            and all(row.holds(known.path) for row in rows)
            and not self._is_cut(known.path)
        ):
            candidate = sum(self._program.values[arc] for arc in known.path)
            if path is None or candidate > value:
                path, value = known.path, candidate
        relaxed = float(known.bounds.max())
        bound = relaxed if answer.bound is None else min(relaxed, max(float(answer.bound), rest))
        return Answer(path, value, int(np.floor(bound)) if np.isfinite(bound) else None, False)

    def _is_cut(self, path: Sequence[int]) -> bool:
        return any(cut <= set(path) for cut in self._cuts)

    def _least_tied(
        self, path: tuple[int, ...], value: int, tie_break: str | None
    ) -> tuple[int, ...]:
        """Of the paths with the best value the one with the least tie-break, then first ids."""
        arcs = self._bounds().above(value)
        held = [_at_least(self._program.values, value)]
        savings = self._program.savings(tie_break) if tie_break else {}
        if savings:
            answer = self._checked(lambda rows: self._solve(arcs, savings, [*rows, *held], path))
            if answer.path is None or not answer.proven:
                return path
            path = answer.path
            held.append(_at_least(savings, answer.value))
        return self._first_named(path, arcs, held)

    def _first_named(
        self, path: tuple[int, ...], arcs: list[int], held: Sequence[Row]
    ) -> tuple[int, ...]:
        """Of the paths that keep `held` the one whose ids come first, arc by arc."""
        graph, named = self._program.graph, self._program.problem.arcs
        if self._is_alone(path, arcs, held):
            return path
        step = 0
        while step < len(path):  # a path that comes before may be shorter, or longer
            node = graph.tails[path[step]]
            options = sorted(
                (arc for arc in arcs if graph.tails[arc] == node), key=lambda arc: named[arc].id
            )
            ranks = {arc: -rank for rank, arc in enumerate(options)}
            if ranks[path[step]]:
                answer = self._with_values(arcs, ranks, held, path)
                if answer.path is None or not answer.proven:
                    return path
                path = answer.path
            arcs = [arc for arc in arcs if graph.tails[arc] != node or arc == path[step]]
            step += 1
        return path

    def _is_alone(self, path: tuple[int, ...], arcs: list[int], held: Sequence[Row]) -> bool:
        """Whether no other path keeps `held`."""
        self._cuts.append(frozenset(path))
        other = self._with_values(arcs, {}, held)
        self._cuts.remove(frozenset(path))
        return other.path is None and other.proven

    def _with_values(
        self,
        arcs: Sequence[int],
        values: Mapping[int, int],
        held: Sequence[Row],
        hint: Sequence[int] = (),
    ) -> Answer:
        return self._checked(lambda rows: self._solve(arcs, values, [*rows, *held], hint))

    def _solve(
        self,
        arcs: Sequence[int],
        values: Mapping[int, int],
        rows: Sequence[Row],
        hint: Sequence[int] = (),
    ) -> Answer:
        effort = Effort(self._deadline - time.monotonic(), self._seed, self._workers)
        return best_path(self._program.graph, arcs, values, rows, self._cuts, effort, hint)

    def _bounds(self) -> ArcBounds:
        if self._arc_bounds is None:
            self._arc_bounds = _bounded(self._program)
        return self._arc_bounds


def _bounded(program: PathProgram) -> ArcBounds:
    if program.order is None or not program.arcs:
        return ArcBounds(program.arcs, np.full(len(program.arcs), np.inf), ())
    return arc_bounds(program.graph, program.arcs, program.order, program.values, program.rows)


def _at_least(values: Mapping[int, int], value: int) -> Row:
    return Row({arc: -gain for arc, gain in values.items()}, -value)
