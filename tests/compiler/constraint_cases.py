"""Small problems with donors and activations, and all their networks one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum

from hypothesis import strategies as st

from compiler.constraints import ArcFacts
from compiler.problem import Arc, Problem
from targets.budget import Budget

LAYERS = 3
ELSEWHERE = "latency_us@box:threads=2"
"""The latency on another target."""


@dataclass(frozen=True)
class Drawn:
    """Donors of three blocks each, and stitches from a donor's block to another's next one."""

    problem: Problem
    facts: dict[str, ArcFacts]

    @property
    def donors(self) -> list[str]:
        return sorted({fact.donor for fact in self.facts.values() if fact.donor})

    def paths(self) -> Iterator[tuple[Arc, ...]]:
        yield from self._from(self.problem.source, ())

    def _from(self, node: str, so_far: tuple[Arc, ...]) -> Iterator[tuple[Arc, ...]]:
        if node == self.problem.sink:
            yield so_far
        for arc in self.problem.arcs:
            if arc.tail == node:
                yield from self._from(arc.head, (*so_far, arc))

    def cost(self, path: tuple[Arc, ...], resource: str) -> float:
        return fsum(arc.cost(resource) for arc in path)

    def quality(self, path: tuple[Arc, ...]) -> float:
        return fsum(arc.score for arc in path)

    def used(self, path: tuple[Arc, ...]) -> set[str]:
        return {donor for arc in path if (donor := self.facts[arc.id].donor)}

    def memory(self, path: tuple[Arc, ...]) -> float:
        held = fsum(self.facts[arc.id].held_bytes for arc in path)
        return held + max(self.facts[arc.id].passing_bytes for arc in path)

    def keeps(self, path: tuple[Arc, ...], budget: Budget) -> bool:
        """The constraints, said once more without gates and potentials."""
        used = self.used(path)
        amounts = dict(budget.amounts())
        memory = amounts.pop("memory_bytes", None)
        return (
            all(self.cost(path, name) <= limit for name, limit in amounts.items())
            and (memory is None or self.memory(path) <= memory)
            and (budget.donors is None or len(used) <= budget.donors)
            and set(budget.required) <= used
            and not set(budget.excluded) & used
            and (budget.min_quality is None or self.quality(path) >= budget.min_quality - 1e-9)
        )


@st.composite
def drawn_problems(draw: st.DrawFn, most_donors: int = 4) -> Drawn:
    count = draw(st.integers(2, most_donors))
    whole = st.integers(1, 12)
    arcs, facts = [], {}
    for donor in range(count):
        for layer in range(LAYERS):
            tail = "in" if layer == 0 else f"{donor}@{layer}"
            head = "out" if layer == LAYERS - 1 else f"{donor}@{layer + 1}"
            costs = tuple(
                (name, float(draw(whole))) for name in ("latency_us", "params", ELSEWHERE)
            )
            name = f"{donor}/{layer}"
            arcs.append(Arc(name, tail, head, draw(whole) / 40, costs))
            facts[name] = ArcFacts(f"d{donor}", float(draw(whole)), float(draw(whole)))
    ends = [(a, b, n) for a in range(count) for b in range(count) for n in (1, 2) if a != b]
    for a, b, n in draw(st.lists(st.sampled_from(ends), max_size=8, unique=True)):
        name = f"{a}/{n}>{b}"
        costs = (("latency_us", 1.0), ("params", 1.0), ("stitches", 1.0), (ELSEWHERE, 2.0))
        arcs.append(Arc(name, f"{a}@{n}", f"{b}@{n}^", -draw(whole) / 100, costs))
        facts[name] = ArcFacts(None, 1.0, float(draw(whole)), (f"d{a}", f"d{b}"))
    arcs, facts = _entered(arcs, facts)
    return Drawn(Problem("maximize", "in", "out", tuple(arcs)), facts)


def _entered(arcs: list[Arc], facts: dict[str, ArcFacts]) -> tuple[list[Arc], dict[str, ArcFacts]]:
    """A stitch enters a node that only a block leaves: its arc is there twice."""
    marked = {arc.head for arc in arcs if arc.head.endswith("^")}
    again = [a for a in arcs if a.tail + "^" in marked and ">" not in a.id]
    copies = [Arc(a.id + "^", a.tail + "^", a.head, a.score, a.costs) for a in again]
    return [*arcs, *copies], facts | {arc.id + "^": facts[arc.id] for arc in again}


@st.composite
def budgets(draw: st.DrawFn, donors: list[str]) -> Budget:
    some = st.none() | st.integers(1, 45)
    some_elsewhere = st.integers(1, 45).map(lambda n: (("box:threads=2", float(n)),))
    names = st.lists(st.sampled_from(donors), max_size=2, unique=True)
    required = draw(names)
    excluded = [name for name in draw(names) if name not in required]
    return Budget(
        latency_us=draw(some),
        stitches=draw(st.none() | st.integers(0, 2)),
        params=draw(some),
        memory_bytes=draw(some),
        donors=draw(st.none() | st.integers(1, 3)),
        min_quality=draw(st.none() | st.integers(1, 40).map(lambda n: n / 40)),
        required=tuple(required),
        excluded=tuple(excluded),
        elsewhere=draw(st.just(()) | some_elsewhere),
    )
