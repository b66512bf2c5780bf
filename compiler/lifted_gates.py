"""Gates that are recognized in a problem, and lifted out of it.

`compiler.gates` says in arcs and counts what does not add up along a network: two arcs behind it,
`yes` and `no`, and a count for every arc that opens the gate. To a solver these are thousands of
rows that say one sentence. They are recognized by their structure, so that a problem file that
anyone wrote is served as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from compiler.problem import Arc, CountLimit, Problem


@dataclass(frozen=True, slots=True)
class LiftedGate:
    """A gate by the numbers of its arcs in the problem.

    Attributes:
        yes: the arc of an open gate.
        no: that of a closed one; it costs and scores nothing.
        opened_by: the network's arcs of which any opens it, by itself or through other gates.
    """

    yes: int
    no: int
    opened_by: frozenset[int]


@dataclass(frozen=True, slots=True)
class Lifted:
    """A problem without its gates.

    Attributes:
        core: the network alone: it ends where the gates began.
        arcs: the number in the whole problem of every arc of `core`.
        gates: in the order in which a path passes them.
    """

    core: Problem
    arcs: tuple[int, ...]
    gates: tuple[LiftedGate, ...]


def lifted(problem: Problem) -> Lifted | None:
    """The problem without the gates behind its network; None if it has none.

    A gate that scores is lifted only if being open is no gain.
    """
    found = _Recognizer(problem).gates()
    if not found:
        return None
    gone = {name for yes, no, _ in found for name in (yes.id, no.id)}
    kept = tuple(i for i, arc in enumerate(problem.arcs) if arc.id not in gone)
    core = Problem(
        problem.sense,
        problem.source,
        found[0][0].tail,
        tuple(problem.arcs[i] for i in kept),
        problem.limits,
        tuple(count for count in problem.counts if gone.isdisjoint(count.arcs)),
    )
    number = {arc.id: i for i, arc in enumerate(problem.arcs)}
    return Lifted(core, kept, tuple(_resolved(found, number)))


def _resolved(
    found: Sequence[tuple[Arc, Arc, frozenset[str]]], number: dict[str, int]
) -> list[LiftedGate]:
    """Gates with what opens them through other gates, which come before them."""
    opening: dict[str, frozenset[int]] = {}
    gates = []
    for yes, no, openers in found:
        opened_by: set[int] = set()
        for name in openers:
            opened_by |= opening.get(name, {number[name]})
        opening[yes.id] = frozenset(opened_by)
        gates.append(LiftedGate(number[yes.id], number[no.id], opening[yes.id]))
    return gates


class _Recognizer:
    """Walks back from the sink as long as there are gates."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._entering: dict[str, list[Arc]] = defaultdict(list)
        self._leaving: dict[str, int] = defaultdict(int)
        for arc in problem.arcs:
            self._entering[arc.head].append(arc)
            self._leaving[arc.tail] += 1
        self._counts: dict[str, list[CountLimit]] = defaultdict(list)
        for count in problem.counts:
            for name in count.arcs:
                self._counts[name].append(count)

    def gates(self) -> list[tuple[Arc, Arc, frozenset[str]]]:
        """Arc of an open gate, arc of a closed one, and what opens it; first to last."""
        found: list[tuple[Arc, Arc, frozenset[str]]] = []
        node = self._problem.sink
        while (gate := self._gate(node)) is not None:
            found.append(gate)
            node = gate[0].tail
        found.reverse()
        while found and not self._sound(found):
            del found[0]
        return found

    def _gate(self, node: str) -> tuple[Arc, Arc, frozenset[str]] | None:
        arcs = self._entering[node]
        if len(arcs) != 2 or arcs[0].tail != arcs[1].tail or self._leaving[arcs[0].tail] != 2:
            return None
        if arcs[0].tail == self._problem.source or self._leaving[self._problem.sink]:
            return None
        for yes, no in (arcs, reversed(arcs)):
            openers = self._openers(no)
            if openers is not None and yes.id not in openers and not self._gains(yes):
                return yes, no, openers
        return None

    def _openers(self, no: Arc) -> frozenset[str] | None:
        """What opens the gate of this closed arc; None if it is the closed arc of no gate."""
        counts = self._counts[no.id]
        free = not no.score and not any(cost for _, cost in no.costs)
        demands = [count for count in counts if count.at_least == 1 and count.at_most is None]
        if not free or len(demands) != 1:
            return None
        openers = set(demands[0].arcs) - {no.id}
        closing = [count for count in counts if count is not demands[0]]
        plain = all(c.at_most == 1 and not c.at_least and len(c.arcs) == 2 for c in closing)
        closed = {name for count in closing for name in count.arcs} - {no.id}
        return frozenset(openers) if plain and openers and closed == openers else None

    def _gains(self, yes: Arc) -> bool:
        return yes.score > 0 if self._problem.sense == "maximize" else yes.score < 0

    def _sound(self, found: Sequence[tuple[Arc, Arc, frozenset[str]]]) -> bool:
        """Whether the gates are in no count but their own, and are opened by what comes before."""
        own = {no.id for _, no, _ in found}
        behind: set[str] = {name for yes, no, _ in found for name in (yes.id, no.id)}
        for yes, no, openers in found:
            if openers & behind or any(own.isdisjoint(c.arcs) for c in self._counts[yes.id]):
                return False
            behind -= {yes.id, no.id}
        return True
