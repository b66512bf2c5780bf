"""Constraints: what a user may ask of a network, put into the assembly program.

What adds up along a path is a limit, a donor that must appear is a count, one that must not is left
out. The number of donors and the largest activation do not add up: gates price them. A least
quality turns the question around: see `least_latency`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from compiler.gates import Gate, gated
from compiler.least_latency import least_latency
from compiler.problem import Arc, CountLimit, Problem
from targets.budget import Budget

MEMORY = "memory_bytes"


@dataclass(frozen=True, slots=True)
class ArcFacts:
    """What constraints need to know of an arc besides its costs.

    Attributes:
        donor: whose block it is; None for a stitch.
        held_bytes: what its weights add to the peak memory of the network.
        passing_bytes: what its activations add to it, if no other arc's are larger.
        joins: the donors that a stitch joins.
    """

    donor: str | None
    held_bytes: float = 0.0
    passing_bytes: float = 0.0
    joins: tuple[str, ...] = ()

    @property
    def donors(self) -> tuple[str, ...]:
        """Every donor without which the arc is of no use."""
        return self.joins if self.donor is None else (self.donor,)


def constrained(problem: Problem, budget: Budget, facts: Mapping[str, ArcFacts]) -> Problem:
    """The problem under a budget; its own limits are replaced, its counts kept.

    Args:
        problem: maximizes quality; arcs cost every resource that the budget limits, but for
            `memory_bytes` and `donors`, which are derived.
        budget: what is asked for.
        facts: of every arc.
    """
    excluded = set(budget.excluded)
    arcs = tuple(arc for arc in problem.arcs if not excluded & set(facts[arc.id].donors))
    made = replace(problem, arcs=arcs, limits=budget.amounts())
    gates: list[Gate] = []
    if budget.memory_bytes is not None:
        made, gates = _with_memory(made, budget.memory_bytes, facts)
    if _counts_donors(budget):
        gates += _donor_gates(made.arcs, facts)
        made = replace(made, limits=(*made.limits, ("donors", float(budget.donors or 0))))
    required = tuple(_required(name, made.arcs, facts) for name in budget.required)
    made = gated(replace(made, counts=(*made.counts, *required)), gates)
    return made if budget.min_quality is None else least_latency(made, budget.min_quality)


def _counts_donors(budget: Budget) -> bool:
    """Whether the number of donors is limited by more than the number of stitches."""
    if budget.donors is None:
        return False
    return budget.stitches is None or budget.donors <= budget.stitches


def _required(donor: str, arcs: Sequence[Arc], facts: Mapping[str, ArcFacts]) -> CountLimit:
    return CountLimit(_blocks(donor, arcs, facts), at_least=1)


def _blocks(donor: str, arcs: Sequence[Arc], facts: Mapping[str, ArcFacts]) -> tuple[str, ...]:
    return tuple(arc.id for arc in arcs if facts[arc.id].donor == donor)


def _donor_gates(arcs: Sequence[Arc], facts: Mapping[str, ArcFacts]) -> list[Gate]:
    """One gate a donor, opened by any of its blocks."""
    names = sorted({donor for arc in arcs if (donor := facts[arc.id].donor) is not None})
    return [Gate(f"donor {n}", _blocks(n, arcs, facts), (("donors", 1.0),)) for n in names]


def _with_memory(
    problem: Problem, most: int, facts: Mapping[str, ArcFacts]
) -> tuple[Problem, list[Gate]]:
    """Arcs that cost the memory of their weights, and gates that add the largest activation.

    Every path begins with a block out of the source: the smallest activation of these is paid by
    all. Each larger one has a gate, which pays the difference to the one before and is opened by
    its arcs and by the gate after it. Arcs that do not fit by themselves are left out.
    """
    sizes = {arc.id: facts[arc.id].passing_bytes for arc in problem.arcs}
    kept = [arc for arc in problem.arcs if facts[arc.id].held_bytes + sizes[arc.id] <= most]
    base = min((sizes[arc.id] for arc in kept if arc.tail == problem.source), default=0.0)
    arcs = tuple(
        replace(arc, costs=(*arc.costs, (MEMORY, facts[arc.id].held_bytes + base * first)))
        for arc in kept
        for first in (arc.tail == problem.source,)
    )
    by_size: dict[float, list[str]] = {}
    for arc in kept:
        if sizes[arc.id] > base:
            by_size.setdefault(sizes[arc.id], []).append(arc.id)
    gates: list[Gate] = []
    for size, below in pairwise([*sorted(by_size, reverse=True), base]):
        opened_by = (*by_size[size], *(gate.yes for gate in gates[-1:]))
        gates.append(Gate(f"activation {size:.0f}", opened_by, ((MEMORY, size - below),)))
    return replace(problem, arcs=arcs), gates
