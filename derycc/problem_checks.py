"""Problem checks: what is surely a mistake in a problem file, though a program could be made of it.

The solver itself takes all of these: a limit that nothing counts against, a boundary without arcs.
"""

from difflib import get_close_matches

from compiler.problem import CountLimit, Problem
from targets.errors import UnknownNameError, UsageError

_SHOWN = 3


def costed(problem: Problem) -> tuple[str, ...]:
    """The resources that a limit may bound: those that an arc costs; all, where there is no arc."""
    if not problem.arcs:
        return problem.resources
    return tuple(sorted({name for arc in problem.arcs for name, _ in arc.costs}))


def check_limits(problem: Problem) -> None:
    """Refuse a limit on what no arc costs: it would be kept by anything.

    Raises:
        UnknownNameError: there is one; with the nearest names.
    """
    known = costed(problem)
    for name, _ in problem.limits:
        if name not in known:
            raise UnknownNameError("resource in limits", name, known)


def check_ends(problem: Problem) -> None:
    """Refuse a source or sink that no arc touches; a problem without arcs is left to the solver.

    Raises:
        UsageError: there is one; with the nearest boundaries, or those where paths begin or end.
    """
    heads = {arc.head for arc in problem.arcs}
    tails = {arc.tail for arc in problem.arcs}
    both = heads | tails
    for what, name, own, others in (
        ("source", problem.source, tails, heads),
        ("sink", problem.sink, heads, tails),
    ):
        if not both or name in both:
            continue
        near = get_close_matches(name, sorted(own), n=_SHOWN) or sorted(own - others)[:_SHOWN]
        hint = f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else "."
        verb = "leads to" if what == "sink" else "leaves"
        raise UsageError(
            f"No arc {verb} the {what} {name!r}{hint} Correct the {what}, or add arcs."
        )


def impossible_counts(problem: Problem) -> list[str]:
    """Counts that no set of arcs can keep, in words."""
    told = ((f"counts[{i}]", _impossible(count)) for i, count in enumerate(problem.counts))
    return [f"{name} {why}" for name, why in told if why]


def _impossible(count: CountLimit) -> str:
    least, most, arcs = count.at_least, count.at_most, len(count.arcs)
    if least is None:
        return ""
    if most is not None and least > most:
        return f"wants at least {least} and at most {most} arcs"
    return f"wants at least {least} of {arcs} arc{'' if arcs == 1 else 's'}" if least > arcs else ""
