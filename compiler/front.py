"""The front: the best network for every budget of an interval, each one proven.

Budgets are taken from the largest down, each just below what the last answer costs (the
epsilon-constraint method of Haimes, Lasdon and Wismer, 1971); relaxed solutions serve them all.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from compiler.assembly import Assembly, answered, check_effort, relative_gap, tie_order
from compiler.gate_search import Search, search_for
from compiler.problem import Problem, Sense
from targets.errors import UnknownNameError, UsageError

Ties = tuple[str, ...]

_EACH = 0.5
"""So much of the time is for each budget by itself; the rest may prepare all at once."""


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """The best network within one budget.

    Attributes:
        limit: the budget of the front's resource.
        assembly: what `assemble` answers at this budget, or where that has no proof the best path
            known within it; it always has a path.
    """

    limit: float
    assembly: Assembly


@dataclass(frozen=True, slots=True)
class SolvedFront:
    """What was found out about an interval of budgets.

    Attributes:
        points: by rising budget; where `below` is None there are no others.
        below: time ran out: of no budget up to this one anything is known; None: of all is.
    """

    points: tuple[FrontPoint, ...]
    below: float | None = None

    @property
    def proven(self) -> bool:
        """Whether every budget was decided, and every point is the best there is."""
        found = (point.assembly.status for point in self.points)
        return self.below is None and all(status == "optimal" for status in found)


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
) -> SolvedFront:
    """The best paths under budgets of `resource` from `low` to `high`, by rising budget.

    Other limits and counts hold, one for `resource` is left aside. Each point is what `assemble`
    answers, or without proof the best path known that fits: scores never worsen along the front.

    Args:
        problem: What may be assembled.
        resource: What the budget is of.
        low: The least budget.
        high: The largest.
        points: So many budgets from `low` to `high`; those that nothing meets have no point.
            None: every Pareto-optimal answer, at what it costs (the first perhaps below `low`).
        time_limit_s: Then the points of the largest budgets come back, and what is undecided.
        seed: Of the search.
        workers: Threads.
        tie_break: As for `assemble`.

    Raises:
        UsageError: An argument is not usable, such as a resource that nothing names.
    """
    check_effort(time_limit_s, seed, workers)
    _check(problem, resource, low, high, points)
    deadline, ties = time.monotonic() + time_limit_s, tie_order(tie_break)
    search = search_for(_limited(problem, resource, high), seed, workers)
    search.sweep(resource, low, deadline - _EACH * time_limit_s)
    if points is None:
        return _every_change(search, resource, low, high, deadline, ties)
    return _at_budgets(search, resource, _spaced(low, high, points), deadline, ties)


def _every_change(
    search: Search,
    resource: str,
    low: float,
    high: float,
    deadline: float,
    ties: Ties,
) -> SolvedFront:
    """Down from the largest budget, each time to just below what the last path costs."""
    found: list[FrontPoint] = []
    limit = high
    while limit >= low:
        # Of equal scores the one that costs least: the others are no points of the front.
        answer = _within(search, resource, limit, deadline, (resource, *ties))
        if answer.found:
            found.append(FrontPoint(answer.cost(resource), answer))
            limit = math.nextafter(found[-1].limit, -math.inf)
        if answer.status != "optimal":
            below = limit if limit >= low and answer.status != "infeasible" else None
            return SolvedFront(tuple(reversed(found)), below)
    return SolvedFront(tuple(reversed(found)))


def _at_budgets(
    search: Search,
    resource: str,
    budgets: list[float],
    deadline: float,
    ties: Ties,
) -> SolvedFront:
    """One answer a budget, from the largest down; one that also fits the next is not sought."""
    answers: list[Assembly] = []
    for budget in reversed(budgets):
        last = answers[-1] if answers else None
        if last is None or last.status != "optimal" or last.cost(resource) > budget:
            last = _within(search, resource, budget, deadline, ties)
        if last.status == "infeasible":
            break
        answers.append(last)
        if not last.found:
            break
    undecided = bool(answers) and answers[-1].status == "unknown"
    sought = budgets if undecided else budgets[len(budgets) - len(answers) :]
    return _best_known(search.program.problem.sense, resource, sought, answers)


def _best_known(
    sense: Sense, resource: str, budgets: list[float], answers: list[Assembly]
) -> SolvedFront:
    """A point for every budget that a known path keeps; `answers` are of the largest, downwards."""
    points, below = list[FrontPoint](), None
    for index, budget in enumerate(reversed(budgets)):
        own = answers[min(index, len(answers) - 1)]  # a bound within more is one within less
        if own.status != "optimal":
            own = _improved(sense, own, [a for a in answers if a.cost(resource) <= budget])
        if not own.found:
            below = budget
            break
        points.append(FrontPoint(budget, own))
    return SolvedFront(tuple(reversed(points)), below)


def _improved(sense: Sense, own: Assembly, known: list[Assembly]) -> Assembly:
    """An answer without proof, or the best of the known ones, under the same bound."""
    sign = 1 if sense == "maximize" else -1

    def worth(answer: Assembly) -> float:
        return -math.inf if answer.objective is None else sign * answer.objective

    best = max([own, *known], key=worth)
    if best is own or best.objective is None:
        return own
    bound = own.bound if own.bound is None else sign * max(sign * own.bound, sign * best.objective)
    gap = None if bound is None else relative_gap(best.objective, bound)
    return replace(best, status="feasible", bound=bound, gap=gap)


def _within(search: Search, resource: str, limit: float, deadline: float, ties: Ties) -> Assembly:
    started = time.monotonic()
    search.limit(resource, limit)
    return answered(search, started, deadline - started, ties)


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
    step = (high - low) / max(points - 1, 1)
    return [*(low + step * index for index in range(points - 1)), high]


def _limited(problem: Problem, resource: str, limit: float) -> Problem:
    others = tuple(pair for pair in problem.limits if pair[0] != resource)
    return replace(problem, limits=(*others, (resource, limit)))
