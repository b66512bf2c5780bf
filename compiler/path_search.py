"""Searching a program: the best path, ties broken the same way everywhere, and what is proven.

The search is exact. Only arcs whose bound reaches the best path are looked at, a core that grows
until no arc outside can matter. All best paths of the core are listed where they are few; where
they are not, CP-SAT decides: a path that the integers allow but the problem's own numbers do not is
cut off and the search goes on, and ties are broken by further programs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from compiler import gap_search
from compiler.cpsat import NOTHING, UNDECIDED, Answer, Effort, Row, best_path
from compiler.gap_search import Best, GapSearch
from compiler.label_search import LabelSearch, Swept
from compiler.lagrangian import ArcBounds, Relaxation
from compiler.path_program import PathProgram

CORE = 150
"""Arcs in the first core."""

GROWTH = 4

LISTED = 4000
"""Arcs of a core that may be listed from."""

SWEPT = 3000
"""Arcs for which all limits may be prepared at once."""

RETRIES = 25
"""After so many paths that only the rounded budgets allow, budgets are rounded the strict way."""


class PathSearch:
    """Answers for one program; what is learnt for one answer serves the next.

    Attributes:
        program: What is searched now.
        seed: Of the solver.
    """

    def __init__(self, program: PathProgram, seed: int, workers: int) -> None:
        self.program = program
        self.seed = seed
        self._workers = workers
        self._cuts: list[frozenset[int]] = []
        self._others: list[Row] = []
        self._deadline = 0.0
        self._relaxation: Relaxation | None = None
        self._bounded: tuple[tuple[int, ...], ArcBounds] | None = None
        self._swept: Swept | None = None
        self._met: tuple[int, ...] = ()

    def best(self, seconds: float, ties: Sequence[str]) -> Answer:
        """The best path that no cut forbids, found within `seconds`.

        Among paths of the same integer value the one with the least of the first of `ties` is
        taken, then of the second and so on, and among these the one whose arc ids, read from the
        source on, come first in the alphabet. If time runs out meanwhile, the best tie so far.
        """
        self._deadline, self._met = time.monotonic() + seconds, ()
        listed = self._list_best() if seconds > 0 else None
        if listed is not None:
            if not listed.paths:
                return NOTHING
            path = self.first_tied(listed.paths, ties)
            return Answer(path, listed.value, listed.value, proven=True)
        answer = self._checked(self._highest)
        if answer.path is None or not answer.proven:
            return answer
        path = self._least_tied(answer.path, answer.value, ties)
        return Answer(path, answer.value, answer.bound, proven=True)

    def forbid(self, arcs: frozenset[int]) -> None:
        """No further answer contains all of `arcs`."""
        self._cuts.append(arcs)

    def differ(self, path: frozenset[int], arcs: int) -> None:
        """Further answers have at least so many arcs that are not in `path`."""
        others = {arc: -1 for arc in self.program.arcs if arc not in path}
        self._others.append(Row(others, -arcs))

    def limit(self, resource: str, limit: float) -> None:
        """From now on a limit on `resource` that is not above the one before."""
        self.program = self.program.limited(resource, limit)

    def sweep(self, resource: str, low: float, deadline: float) -> None:
        """Prepare all limits on `resource` from `low` to the present one, if that is quickly done.

        It is where there are few arcs, no cycle, and no other limit or count. What is not done by
        the deadline, of `time.monotonic`, is left.
        """
        program = self.program
        alone = {name for name, _ in program.problem.limits} == {resource} and not program.counts
        if len(program.arcs) > SWEPT or not alone or not program.longest.acyclic:
            return
        lowest = PathSearch(program.limited(resource, low), self.seed, self._workers)
        answer = lowest.best(deadline - time.monotonic(), ())
        floor = -np.inf if answer.path is None else float(answer.value)
        budget, limit = program.budgets[resource], dict(program.problem.limits)[resource]
        row = Row(budget.down, budget.grid.highest(limit))
        labels = LabelSearch(program.longest, program.arcs, program.values, [row], (), deadline)
        self._swept = labels.sweep(floor)

    def _list_best(self) -> Best | None:
        """Every best path; None where that is too much work."""
        if self._swept is not None:
            ((name, limit),) = self.program.problem.limits
            steps = self.program.budgets[name].grid.highest(limit)
            found = self._swept.best(steps, self._is_allowed)
            if found is not None:
                return found
        bounds, rows = self._bounds(), [*self.program.rows, *self._others]
        floor = -np.inf
        if bounds.path and self._is_allowed(bounds.path):
            floor = float(self.program.value(bounds.path))
        core, rest = bounds.above(floor), -np.inf
        if len(core) > LISTED:
            core, rest = bounds.core(CORE)
        while len(core) <= LISTED:
            best = self._list_core(core, rows, bounds.prices, floor)
            if best is None or rest == -np.inf or (best.paths and rest < best.value):
                return best
            if best.paths and len(reaching := bounds.above(best.value)) <= GROWTH * len(core):
                core, rest = reaching, -np.inf
            else:
                core, rest = bounds.core(GROWTH * len(core))
        return None

    def _list_core(
        self, core: Sequence[int], rows: Sequence[Row], prices: Sequence[float], floor: float
    ) -> Best | None:
        given = core, self.program.values, rows, prices
        search = GapSearch(self.program.ledger.graph, *given)
        if not search.longest.acyclic:
            return search.best(floor, self._meets, gap_search.STEPS, self._deadline)
        found = search.best(floor, self._meets, gap_search.FIRST_STEPS, self._deadline)
        if found is not None:
            return found
        labels = LabelSearch(search.longest, *given, self._deadline)
        free = not self._cuts and not self._others
        return labels.best(floor, self._meets, dominance=free)

    def _meets(self, path: tuple[int, ...]) -> bool:
        """Whether a path is allowed; the best such one is kept for when time runs out."""
        allowed = self._is_allowed(path)
        if allowed and (not self._met or self.program.value(path) > self.program.value(self._met)):
            self._met = path
        return allowed

    def _is_allowed(self, path: tuple[int, ...]) -> bool:
        rows = (*self.program.counts, *self._others)
        holds = all(row.holds(path) for row in rows)
        return holds and not self._is_cut(path) and self.program.fits(path)

    def first_tied(self, paths: Sequence[tuple[int, ...]], ties: Sequence[str]) -> tuple[int, ...]:
        """Of paths of one value the one with the least tie-breaks, then first ids."""
        if len(paths) == 1:
            return paths[0]
        arcs = sorted({arc for path in paths for arc in path})
        savings = [self.program.savings(name, arcs) for name in ties]
        named = self.program.problem.arcs
        return min(
            paths,
            key=lambda path: (
                [-sum(saved.get(arc, 0) for arc in path) for saved in savings],
                [named[arc].id for arc in path],
            ),
        )

    def _checked(self, solve: Callable[[Sequence[Row]], Answer]) -> Answer:
        """Solve until the answer keeps the limits in the problem's own numbers."""
        answer = UNDECIDED
        for _ in range(RETRIES):
            answer = solve(self.program.rows)
            if answer.path is None or self.program.fits(answer.path):
                return answer
            self.forbid(frozenset(answer.path))
        strict = solve(self.program.strict_rows)
        reached = strict.path is not None and answer.proven and strict.value == answer.value
        return Answer(strict.path, strict.value, answer.bound, proven=reached)

    def _highest(self, rows: Sequence[Row]) -> Answer:
        """The path of highest value, proven on a core of the arcs."""
        bounds = self._bounds()
        core, rest = bounds.core(CORE if np.isfinite(bounds.bounds).all() else len(bounds.arcs))
        while True:
            answer = self._solve(core, self.program.values, rows, hint=bounds.path)
            if not answer.proven:
                return self._unfinished(answer, rest)
            if rest == -np.inf or (answer.path is not None and rest < answer.value):
                return answer
            reaching = bounds.above(answer.value) if answer.path else list(bounds.arcs)
            if len(reaching) <= GROWTH * len(core):
                core, rest = reaching, -np.inf
            else:
                core, rest = bounds.core(GROWTH * len(core))

    def _unfinished(self, answer: Answer, rest: float) -> Answer:
        """The best that is known when time ran out."""
        known = self._bounds()
        path, value = answer.path, answer.value
        for other in (known.path, self._met):
            worth = self.program.value(other) if other and self._is_allowed(other) else None
            if worth is not None and (path is None or worth > value):
                path, value = other, worth
        relaxed = float(known.bounds.max())
        bound = relaxed if answer.bound is None else min(relaxed, max(float(answer.bound), rest))
        return Answer(path, value, int(np.floor(bound)) if np.isfinite(bound) else None, False)

    def _is_cut(self, path: Sequence[int]) -> bool:
        return any(cut <= set(path) for cut in self._cuts)

    def _least_tied(
        self, path: tuple[int, ...], value: int, ties: Sequence[str]
    ) -> tuple[int, ...]:
        """Of the paths with the best value the one with the least tie-breaks, then first ids."""
        arcs = self._bounds().above(value)
        held = [_at_least(self.program.values, value)]
        for name in ties:
            if savings := self.program.savings(name, arcs):
                answer = self._with_values(arcs, savings, held, path)
                if answer.path is None or not answer.proven:
                    return path
                path = answer.path
                held.append(_at_least(savings, answer.value))
        return self._first_named(path, arcs, held)

    def _first_named(
        self, path: tuple[int, ...], arcs: list[int], held: Sequence[Row]
    ) -> tuple[int, ...]:
        """Of the paths that keep `held` the one whose ids come first, arc by arc."""
        graph, named = self.program.ledger.graph, self.program.problem.arcs
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
        effort = Effort(self._deadline - time.monotonic(), self.seed, self._workers)
        graph, rows = self.program.ledger.graph, [*rows, *self._others]
        return best_path(graph, arcs, values, rows, self._cuts, effort, hint)

    def _bounds(self) -> ArcBounds:
        rows = self.program.rows
        limits = tuple(row.limit for row in rows)
        if self._bounded is None or self._bounded[0] != limits:
            self._bounded = limits, self._relaxed(rows).bounds(limits)
        return self._bounded[1]

    def _relaxed(self, rows: Sequence[Row]) -> Relaxation:
        """The relaxation of these rows, whatever their limits."""
        if self._relaxation is None or not self._relaxation.has(rows):
            program = self.program
            self._relaxation = Relaxation(program.longest, program.arcs, program.values, rows)
        return self._relaxation


def _at_least(values: Mapping[int, int], value: int) -> Row:
    return Row({arc: -gain for arc, gain in values.items()}, -value)
