"""Gates: what a network costs that does not add up along it, said in arcs and counts.

How many donors lend a block, or how large the largest activation is, is no sum over blocks. A gate
is a choice of two arcs behind the network, `... yes` and `... no`, of which counts allow exactly
one: `yes` if the path uses any of the arcs that open the gate, else `no`. The price is on `yes`.
So the problem file says it all, every network has exactly one path, and the solver needs to know
nothing of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler.problem import Amounts, Arc, CountLimit, Problem
from targets.errors import UsageError

YES, NO = " yes", " no"


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing that a network does or does not.

    Attributes:
        name: what its two arcs are called.
        opened_by: arcs of which using any opens it; may be the `yes` of another gate.
        costs: what an open gate costs.
    """

    name: str
    opened_by: tuple[str, ...]
    costs: Amounts

    @property
    def yes(self) -> str:
        """The arc of an open gate."""
        return self.name + YES

    @property
    def no(self) -> str:
        """The arc of a closed gate."""
        return self.name + NO

    def counts(self) -> tuple[CountLimit, ...]:
        """What makes one of its two arcs impossible, whatever the path is."""
        closing = (CountLimit((arc, self.no), at_most=1) for arc in self.opened_by)
        return (CountLimit((self.no, *self.opened_by), at_least=1), *closing)


def gated(problem: Problem, gates: Sequence[Gate]) -> Problem:
    """The problem with gates behind its sink, in their order.

    Raises:
        UsageError: an arc or a node of the problem has the name of a gate.
    """
    if not gates:
        return problem
    nodes = [problem.sink, *(gate.name for gate in gates)]
    if taken := {arc.head for arc in problem.arcs}.intersection(nodes[1:]):
        raise UsageError(
            f"The problem has a boundary '{min(taken)}', and a gate is called so. Rename it."
        )
    arcs = [*problem.arcs]
    for tail, gate in zip(nodes, gates, strict=False):
        arcs.append(Arc(gate.yes, tail, gate.name, 0.0, gate.costs))
        arcs.append(Arc(gate.no, tail, gate.name, 0.0))
    counts = [count for gate in gates for count in gate.counts()]
    return replace(problem, sink=nodes[-1], arcs=tuple(arcs), counts=(*problem.counts, *counts))
