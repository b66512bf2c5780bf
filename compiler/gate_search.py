"""Searching a program with gates: branch and bound over which gates are open.

With no gate decided the network alone is solved, exactly and fast, as if gates cost nothing: a
bound. Where its best path keeps the limits once it pays for the gates that it opens, it is the
answer; otherwise one of these is closed, which takes the arcs away that open it, or held open,
which pays for it beforehand, with all gates that whatever opens it opens too. Gates are a handful
of donors, or sizes of activations that are nested: few cases need a look.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from math import fsum

from compiler.cpsat import NOTHING, UNDECIDED, Answer
from compiler.lifted_gates import Lifted, lifted
from compiler.path_program import PathProgram
from compiler.path_search import PathSearch
from compiler.problem import Problem

CASES = 400
"""Cases that are looked at before an integer program takes over."""

Ties = Sequence[str]

_ROOM = 1e-12
"""Limits of a case are this much wider than its budget: sums may round. Paths are checked."""


@dataclass(frozen=True, slots=True)
class _Case:
    """Gates that are decided, and arcs of which no path may have all."""

    opened: frozenset[int] = frozenset()
    closed: frozenset[int] = frozenset()
    cuts: tuple[frozenset[int], ...] = ()


@dataclass(order=True, frozen=True, slots=True)
class _Solved:
    """A case with its best path; the most promising comes first."""

    rank: tuple[int, int]
    case: _Case = field(compare=False)
    network: tuple[int, ...] = field(compare=False)

    @property
    def bound(self) -> int:
        """No path of this case is worth more."""
        return -self.rank[0]


class GateSearch:
    """Answers for one program with gates; the same to its callers as a `PathSearch`.

    Attributes:
        seed: Of the solver.
    """

    def __init__(self, problem: Problem, apart: Lifted, seed: int, workers: int) -> None:
        """Take a problem and what `lifted` found in it."""
        self._whole = PathSearch(PathProgram.of(problem), seed, workers)
        self._apart = apart
        self.seed = seed
        self._workers = workers
        self._cuts: list[frozenset[int]] = []
        self._is_apart = True
        self._found: dict[tuple[int, ...], int] = {}
        self._bound: int | None = None
        self._order = count()
        opening = [gate.opened_by for gate in apart.gates]
        self._implied = tuple(
            frozenset(i for i, others in enumerate(opening) if own <= others) for own in opening
        )
        self._priced = {
            name for gate in apart.gates for name, cost in problem.arcs[gate.yes].costs if cost
        }

    @property
    def program(self) -> PathProgram:
        """What is searched now."""
        return self._whole.program

    def best(self, seconds: float, ties: Ties) -> Answer:
        """As `PathSearch.best`; whatever part of the search ran out of time, the best it found."""
        deadline = time.monotonic() + seconds
        if not self._is_apart or not self._priced.isdisjoint(ties):
            return self._whole.best(seconds, ties)
        self._found, self._bound = {}, None
        answer = self._best_case(deadline, ties)
        if answer is None:
            answer = self._whole.best(deadline - time.monotonic(), ties)
        return answer if answer.proven else self._best_known(answer)

    def forbid(self, arcs: frozenset[int]) -> None:
        """As `PathSearch.forbid`."""
        self._whole.forbid(arcs)
        gates = {number for gate in self._apart.gates for number in (gate.yes, gate.no)}
        network = arcs - gates
        # A whole network's gates follow from it; of a part of one nobody knows them.
        self._is_apart &= network == arcs or self._is_whole(network)
        self._cuts.append(network)

    def differ(self, path: frozenset[int], arcs: int) -> None:
        """As `PathSearch.differ`; gates are counted as arcs there."""
        self._whole.differ(path, arcs)
        self._is_apart = False

    def limit(self, resource: str, limit: float) -> None:
        """As `PathSearch.limit`."""
        self._whole.limit(resource, limit)

    def sweep(self, resource: str, low: float, deadline: float) -> None:
        """As `PathSearch.sweep`: there is nothing to prepare where there are gates."""

    def _is_whole(self, network: frozenset[int]) -> bool:
        named = self.program.problem.arcs
        tails, heads = {named[arc].tail for arc in network}, {named[arc].head for arc in network}
        core, simple = self._apart.core, len(tails) == len(heads) == len(network)
        return simple and tails - heads == {core.source} and heads - tails == {core.sink}

    def _best_case(self, deadline: float, ties: Ties) -> Answer | None:
        """The best path over all cases; None where there are too many."""
        waiting = self._solved(_Case(), None, deadline, ties)
        if waiting is None:
            return UNDECIDED
        for _ in range(CASES):
            if not waiting or waiting[0].bound < max(self._found.values(), default=-math.inf):
                return self._finished(ties)
            solved = heappop(waiting)
            self._bound = solved.bound
            path = self._with_gates(solved.network)
            # Gates that were held open in vain are shut again: it may be worth more.
            if self._found.get(path, -math.inf) >= solved.bound:
                continue
            if not self._divide(solved, waiting, deadline, ties):
                return UNDECIDED
        return None

    def _divide(self, solved: _Solved, waiting: list[_Solved], deadline: float, ties: Ties) -> bool:
        """Have a case's parts wait in its place; False if time ran out."""
        for case in self._branches(solved):
            parts = self._solved(case, solved, deadline, ties)
            if parts is None:
                return False
            for part in parts:
                heappush(waiting, part)
        return True

    def _note(self, network: tuple[int, ...]) -> None:
        """Keep a network of any case that is within the limits with the gates that it opens."""
        path = self._with_gates(network)
        if self.program.fits(path):
            self._found[path] = self.program.value(path)

    def _best_known(self, answer: Answer) -> Answer:
        """An answer without proof, or the best network of any case; the sharper of two bounds."""
        found = dict(self._found)
        if answer.path is not None:
            found[answer.path] = answer.value
        bounds = [bound for bound in (answer.bound, self._bound) if bound is not None]
        bound = min(bounds) if bounds else None
        if not found:
            return replace(UNDECIDED, bound=bound)
        best = max(found, key=lambda path: found[path])
        return Answer(best, found[best], None if bound is None else max(bound, found[best]), False)

    def _finished(self, ties: Ties) -> Answer:
        if not self._found:
            return NOTHING
        value = max(self._found.values())
        best = [path for path, worth in self._found.items() if worth == value]
        return Answer(self._whole.first_tied(best, ties), value, value, proven=True)

    def _solved(
        self, case: _Case, parent: _Solved | None, deadline: float, ties: Ties
    ) -> list[_Solved] | None:
        """A case solved as if its undecided gates cost nothing; empty: nothing fits; None: no time.

        Where the best path of the case that it is a part of is in it, that is its best as well.
        """
        case = self._propagated(case)
        core, numbers = self._core(case)
        if core is None:
            return []
        if parent is not None and self._holds(parent.network, case, core, frozenset(numbers)):
            return [self._ranked(case, parent.network)]
        search = PathSearch(PathProgram.of(core), self.seed, self._workers)
        position = {number: index for index, number in enumerate(numbers)}
        for cut in (*self._cuts, *case.cuts):
            if cut <= position.keys():
                search.forbid(frozenset(position[number] for number in cut))
        answer = search.best(deadline - time.monotonic(), ties)
        network = tuple(numbers[index] for index in answer.path or ())
        if network:
            self._note(network)
        if not answer.proven:
            if parent is None and answer.bound is not None:
                self._bound = self._steps(search.program.bound(answer.bound))
            return None
        return [self._ranked(case, network)] if network else []

    def _steps(self, score: float) -> int:
        """The least integer value above that of a score, whichever program it was found in."""
        sign = 1 if self.program.problem.sense == "maximize" else -1
        return 1 - self.program.grid.below(-sign * score)

    def _ranked(self, case: _Case, network: tuple[int, ...]) -> _Solved:
        paid = (self._apart.gates[gate].yes for gate in sorted(case.opened))
        return _Solved((-self.program.value((*network, *paid)), next(self._order)), case, network)

    def _holds(
        self, network: tuple[int, ...], case: _Case, core: Problem, numbers: frozenset[int]
    ) -> bool:
        """Whether a path that was the best of a wider case is one of this case."""
        kept = numbers.issuperset(network) and not any(c <= set(network) for c in case.cuts)
        limits = ((self.program.cost(network, name), limit) for name, limit in core.limits)
        return kept and all(cost <= limit for cost, limit in limits)

    def _propagated(self, case: _Case) -> _Case:
        """The case with what follows: gates opened by what opens others, gates too dear to open."""
        opened = case.opened.union(*(self._implied[gate] for gate in case.opened))
        free = frozenset(range(len(self._implied))) - opened
        dear = {gate for gate in free if self._too_dear(opened | self._implied[gate])}
        return replace(case, opened=opened, closed=case.closed | dear)

    def _too_dear(self, opened: frozenset[int]) -> bool:
        limits = self.program.problem.limits
        return any(self._cost(opened, name) > limit for name, limit in limits)

    def _cost(self, gates: frozenset[int], resource: str) -> float:
        arcs = self.program.problem.arcs
        return fsum(arcs[self._apart.gates[gate].yes].cost(resource) for gate in sorted(gates))

    def _core(self, case: _Case) -> tuple[Problem | None, list[int]]:
        """The network of a case, with the number in the whole problem of every arc; None: none."""
        if case.opened & case.closed or self._too_dear(case.opened):
            return None, []
        shut = frozenset[int]().union(*(self._apart.gates[i].opened_by for i in case.closed))
        whole, core = self.program.problem, self._apart.core
        numbers = [number for number in self._apart.arcs if number not in shut]
        kept = {whole.arcs[number].id for number in numbers}
        limits = tuple(
            (name, max(0.0, limit - self._cost(case.opened, name)) * (1.0 + _ROOM) + limit * _ROOM)
            for name, limit in whole.limits
        )
        counts = tuple(
            narrowed
            for c in core.counts
            if (narrowed := replace(c, arcs=tuple(name for name in c.arcs if name in kept))).arcs
        )
        if any(c.at_least and not kept.intersection(c.arcs) for c in core.counts):
            return None, []
        arcs = tuple(whole.arcs[number] for number in numbers)
        return replace(core, arcs=arcs, limits=limits, counts=counts), numbers

    def _with_gates(self, network: tuple[int, ...]) -> tuple[int, ...]:
        """A network's arcs and those of the gates behind it."""
        used = frozenset(network)
        behind = (g.yes if used & g.opened_by else g.no for g in self._apart.gates)
        return (*network, *behind)

    def _branches(self, solved: _Solved) -> tuple[_Case, ...]:
        """The case divided by a gate that its path opens without having paid for it."""
        case, used = solved.case, frozenset(solved.network)
        gates = self._apart.gates
        free = [i for i, g in enumerate(gates) if used & g.opened_by and i not in case.opened]
        if not free:  # it is over a limit by rounding alone
            return (replace(case, cuts=(*case.cuts, used)),)
        gate = max(free, key=lambda i: (len(self._implied[i]), len(used & gates[i].opened_by), -i))
        return (
            replace(case, opened=case.opened | {gate}),
            replace(case, closed=case.closed | {gate}),
        )


Search = PathSearch | GateSearch


def search_for(problem: Problem, seed: int, workers: int) -> Search:
    """The search that suits a problem: with its gates apart, where it has some."""
    apart = lifted(problem)
    if apart is None:
        return PathSearch(PathProgram.of(problem), seed, workers)
    return GateSearch(problem, apart, seed, workers)
