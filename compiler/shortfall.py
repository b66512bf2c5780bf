"""Shortfall: why no path keeps all limits, and which limit to relax how far."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.assembly import Assembly, assemble, cheapest
from compiler.problem import Problem


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What is the least that can be had of one limited resource.

    Attributes:
        resource: Which.
        limit: What was allowed.
        least: The least that any path costs, other limits left aside and counts kept; None if the
            search ended without a path.
        beside: The least that a path costs that keeps all other limits; None if there is none.
        least_is_proven: Whether no path costs less than `least`; else it is the least known.
        beside_is_proven: The same of `beside`, and that there is none where it is None.
    """

    resource: str
    limit: float
    least: float | None
    beside: float | None
    least_is_proven: bool = True
    beside_is_proven: bool = True

    @property
    def relaxing_is_enough(self) -> bool:
        """Whether there is a path when this limit alone is raised to `beside`."""
        return self.beside is not None


def has_path(problem: Problem, *, time_limit_s: float, seed: int, workers: int) -> bool:
    """Whether any path keeps the counts, limits left aside; True where time ran out."""
    answer = assemble(
        replace(problem, limits=()), time_limit_s=time_limit_s, seed=seed, workers=workers
    )
    return answer.status != "infeasible"


def shortfalls(
    problem: Problem, *, time_limit_s: float = 60, seed: int = 0, workers: int = 1
) -> tuple[Shortfall, ...]:
    """For every limit of an infeasible problem the least that is possible.

    Args:
        problem: That no path solves.
        time_limit_s: Seconds for each of the two searches a limit.
        seed: Seed of the search.
        workers: Threads.
    """

    def least(given: Problem, name: str) -> Assembly:
        return cheapest(given, name, time_limit_s=time_limit_s, seed=seed, workers=workers)

    return tuple(
        _shortfall(
            name,
            limit,
            least(replace(problem, limits=((name, limit),)), name),
            least(problem, name),
        )
        for name, limit in problem.limits
    )


def _shortfall(name: str, limit: float, alone: Assembly, beside: Assembly) -> Shortfall:
    return Shortfall(
        name,
        limit,
        alone.objective,
        beside.objective,
        alone.status == "optimal",
        beside.status in ("optimal", "infeasible"),
    )
