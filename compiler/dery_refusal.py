"""Refusals of DeRy mode: why no network has one block of every set within the budgets."""

from compiler.assembly import Assembly, assemble, cheapest
from compiler.belief import Belief
from compiler.dery_space import DerySpace
from compiler.equivalence import Member, Partition
from compiler.problem import Problem
from compiler.tries import TIME_LIMIT_S
from targets.amounts import amount_text, least_text, words
from targets.budget import Budget
from targets.errors import InfeasibleError


def check_sets(partition: Partition) -> None:
    """Refuse sets that cannot share out the stages, before anything is measured.

    Raises:
        InfeasibleError: says of which stages each set has blocks.
    """
    if not partition.has_a_stage_for_every_set:
        raise InfeasibleError(_unmatched(partition))


def check_feasible(space: DerySpace, limits: Budget, belief: Belief) -> None:
    """Refuse limits that no network keeps.

    Raises:
        InfeasibleError: says whether the sets, the stitches or the budgets are the reason, and
            the least that would do.
    """
    problem = space.problem(limits, belief.now)
    if assemble(problem, time_limit_s=TIME_LIMIT_S).status != "infeasible":
        return
    free = space.problem(Budget(), belief.now)
    if assemble(free, time_limit_s=TIME_LIMIT_S).status == "infeasible":
        raise InfeasibleError(_structure(space.partition, problem))
    raise InfeasibleError(_budgets(space, problem, free))


def _unmatched(partition: Partition) -> str:
    sets = "; ".join(
        f"set {number} (of {group.anchor}) has blocks of stage {_stages(group.members)}"
        for number, group in enumerate(partition.sets, 1)
    )
    return (
        f"No network has one block from each of the {partition.k} equivalence sets at each of "
        f"the {partition.k} stages: {sets}. Use another number of blocks (-k), allow uneven "
        "blocks (--epsilon), or add donors."
    )


def _structure(partition: Partition, problem: Problem) -> str:
    if not partition.has_a_stage_for_every_set:
        return _unmatched(partition)
    stitches = sum(">" in arc.id for arc in problem.arcs)
    return (
        f"No network has one block from each of the {partition.k} equivalence sets at each of the "
        f"{partition.k} stages: there are blocks for it, but the {stitches} stitches between "
        "stages do not lead through them. A stitch joins maps of channels (no tokens) on the same "
        "grid or from one to its half. Use another number of blocks (-k), or donors that are more "
        "alike."
    )


def _stages(members: tuple[Member, ...]) -> str:
    """Of a set's blocks, counted from 1."""
    stages = sorted({member.stage + 1 for member in members})
    *first, last = map(str, stages)
    return f"{', '.join(first)} and {last}" if first else last


def _budgets(space: DerySpace, problem: Problem, free: Problem) -> str:
    """What each budget would have to be, the others left aside; else the fastest within them."""
    head = (
        f"No network with one block from each of the {space.partition.k} equivalence sets is "
        "within the budgets."
    )
    limits = [(name, limit) for name, limit in problem.limits if name in free.resources]
    least = [(name, limit, cheapest(free, name)) for name, limit in limits]
    missed = [
        f"the least {words(name)} is {_least_text(name, answer)}, asked for: "
        f"{amount_text(name, limit)}"
        for name, limit, answer in least
        if answer.found and answer.bound is not None and answer.bound > limit
    ]
    if missed:
        return f"{head} Of all of them {'; '.join(missed)}. {_REMEDY}"
    fastest = _fastest(space, problem)
    if all(answer.found and answer.cost(name) <= limit for name, limit, answer in least):
        return f"{head} Each budget can be kept, but not all at once{fastest}. {_REMEDY}"
    return (
        f"{head} Time ran out before it was known whether each budget can be kept by itself"
        f"{fastest}. {_REMEDY}"
    )


def _least_text(name: str, answer: Assembly) -> str:
    """What the cheapest costs; at most so much where time ran out before the proof."""
    return least_text(name, answer.cost(name), answer.status == "optimal")


def _fastest(space: DerySpace, problem: Problem) -> str:
    fastest: Assembly = cheapest(problem, "latency_us")
    if fastest.status == "infeasible":
        return ", at whatever latency"
    if not fastest.found:
        return ""
    took = _least_text("latency_us", fastest)
    return f": within the others the fastest takes {took}, {space.blueprint(fastest.arcs)}"


_REMEDY = "Ask for that much, use other donors, or leave out --mode dery."
