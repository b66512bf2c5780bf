"""Problems for the solver's tests that are too large to enumerate, and an oracle for chains."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from compiler.assembly import Assembly, Status, cheapest
from compiler.problem import Amounts, Arc, CountLimit, Problem


def zoo(seed: int, *, donors: int = 4, cuts: int = 4, backward: bool = False) -> Problem:
    """Donors with blocks and stitches, numbers with all their digits, a budget that binds."""
    random = Random(f"{seed} {donors} {cuts} {backward}")
    arcs = []
    for donor in range(donors):
        quality, pace = random.uniform(60, 80), random.uniform(5, 50)
        for cut in range(cuts):
            tail, head = _node(donor, cut, cuts), _node(donor, cut + 1, cuts)
            costs = _costs(random.uniform(0.5, 1.5) * pace, random.randrange(100))
            arcs.append(Arc(f"{donor}/{cut}", tail, head, quality / cuts, costs))
            if cut > 0:
                other = random.choice([each for each in range(donors) if each != donor])
                step = random.choice((-1, 0, 1)) if backward else random.choice((0, 1))
                end = _node(other, min(max(cut + step, 1), cuts - 1), cuts)
                score = step * 17.0 - random.uniform(0, 3)
                costs = _costs(random.uniform(0, 3), random.randrange(10))
                arcs.append(Arc(f"{donor}@{cut}>{other}", tail, f"{end}^", score, costs))
            if cut > 0:
                costs = _costs(random.uniform(0.5, 1.5) * pace, random.randrange(100))
                arcs.append(Arc(f"{donor}/{cut}^", f"{tail}^", head, quality / cuts, costs))
    limits = (("latency_us", random.uniform(8, 50) * cuts), ("memory_bytes", 70.0 * cuts))
    stitches = tuple(arc.id for arc in arcs if ">" in arc.id)
    counts = (CountLimit(stitches, at_most=2),) if seed % 2 else ()
    return Problem("maximize", "in", "out", tuple(arcs), limits[: 1 + seed % 3 // 2], counts)


def chain_of(random: Random, steps: int, choices: int, *, whole: int = 30) -> Problem:
    """Parallel arcs between neighbours, with whole scores and latencies: many ties."""
    arcs = tuple(
        Arc(f"{step}.{choice}", f"n{step}", f"n{step + 1}", score, (("latency_us", latency),))
        for step in range(steps)
        for choice in range(choices)
        for score, latency in [(float(random.randrange(-9, 20)), float(random.randrange(whole)))]
    )
    limit = float(random.randrange(steps * whole // 2))
    return Problem("maximize", "n0", f"n{steps}", arcs, (("latency_us", limit),))


def best_of_chain(problem: Problem) -> float | None:
    """By dynamic programming over whole latencies: the best score within the limit."""
    ((_, limit),) = problem.limits
    best = {0: 0.0}
    steps = sorted({arc.tail for arc in problem.arcs}, key=lambda name: int(name[1:]))
    for tail in steps:
        onward: dict[int, float] = {}
        for arc in problem.arcs:
            if arc.tail == tail:
                for used, score in best.items():
                    total = used + int(arc.cost("latency_us"))
                    if total <= limit:
                        onward[total] = max(onward.get(total, -1e9), score + arc.score)
        best = onward
    return max(best.values(), default=None)


def out_of_time(*statuses: Status) -> Callable[..., Assembly]:
    """`cheapest` as if time ran out: one status an answer, the last one from then on."""
    left = list(statuses)

    def answer(problem: Problem, resource: str, **effort: Any) -> Assembly:
        status = left.pop(0) if len(left) > 1 else left[0]
        found = cheapest(problem, resource, **effort)
        if status == "unknown":
            return replace(found, status=status, arcs=(), objective=None, bound=None, costs=())
        return replace(found, status=status, bound=0.0 if found.found else None)

    return answer


def _node(donor: int, cut: int, cuts: int) -> str:
    if cut == 0:
        return "in"
    return "out" if cut == cuts else f"{donor}@{cut}"


def _costs(latency_us: float, memory: int) -> Amounts:
    return (("latency_us", latency_us), ("memory_bytes", float(memory)))
