"""The front: the best network for every budget of an interval, each one proven."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from compiler.assembly import Assembly, assemble
from compiler.problem import Problem
from targets.errors import UnknownNameError, UsageError


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """The best network within one budget.

    Attributes:
        limit: the budget of the front's resource.
        assembly: what `assemble` answers at this budget; it always has a path.
    """

    limit: float
    assembly: Assembly


def front(
    problem: Problem,
    resource: str,
    low: float,
    high: float,
    *,
    points: int | None = None,
    time_limit_s: float = 60,
    seed: int = 0,
    workers: int = 1,
    tie_break: str | None = "latency_us",
) -> tuple[FrontPoint, ...]:
    """The best paths under budgets of `resource` from `low` to `high`, by rising budget.

    All other limits and counts hold; a limit that the problem has for `resource` is left aside.
    Each point is what `assemble` answers with its limit, so scores never worsen along the front.

    Args:
        problem: What may be assembled.
        resource: What the budget is of.
        low: The least budget.
        high: The largest budget.
        points: So many budgets, evenly spaced from `low` to `high` (one: `high` alone); budgets
            that nothing meets have no point. None: every Pareto-optimal answer of the interval,
            that is every score that some budget makes the best one, at the least budget that does;
            a point's limit is then what its path costs.
        time_limit_s: Seconds for everything. When they run out the points found so far come back
            (those of the larger budgets), the last perhaps only "feasible".
        seed: Seed of the search.
        workers: Threads.
        tie_break: As for `assemble`.

    Raises:
        UnknownNameError: No arc costs, and no limit bounds, such a resource.
        UsageError: An argument is not usable.
    """
    _check(problem, resource, low, high, points)
    deadline = time.monotonic() + time_limit_s
    found: list[FrontPoint] = []
    limits = None if points is None else _spaced(low, high, points)
    limit = high
    while limit >= low and deadline > time.monotonic():
        answer = assemble(
            _limited(problem, resource, limit),
            time_limit_s=deadline - time.monotonic(),
            seed=seed,
            workers=workers,
            tie_break=tie_break,
        )
        if not answer.found:
            break
        found.append(FrontPoint(limit if points else answer.cost(resource), answer))
        if answer.status != "optimal" or limits == []:
            break
        limit = math.nextafter(answer.cost(resource), -math.inf) if limits is None else limits.pop()
    return tuple(reversed(found))


def _check(problem: Problem, resource: str, low: float, high: float, points: int | None) -> None:
    if resource not in problem.resources:
        raise UnknownNameError("resource", resource, problem.resources)
    if not (math.isfinite(low) and math.isfinite(high) and 0 <= low <= high):
        raise UsageError(
            f"The front's budgets are {low} to {high}. Give two finite numbers that are not "
            "negative, the lower one first."
        )
    if points is not None and points < 1:
        raise UsageError(f"Asked for {points} points of the front. Ask for 1 or more, or for all.")


def _spaced(low: float, high: float, points: int) -> list[float]:
    """The budgets below `high`."""
    step = (high - low) / max(points - 1, 1)
    return [low + step * index for index in range(points - 1)]


def _limited(problem: Problem, resource: str, limit: float) -> Problem:
    others = tuple(pair for pair in problem.limits if pair[0] != resource)
    return replace(problem, limits=(*others, (resource, limit)))
