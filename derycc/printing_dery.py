"""Printing DeRy mode: the equivalence sets, and what is known of the choice."""

from rich.table import Table

from derycc.console import percent, table
from derycc.manifest import Dery, Solver


def sets_table(dery: Dery) -> Table:
    """One line a set: which of its blocks the network has, of how many."""
    rows = [
        (
            str(number),
            str(group.stage),
            f"{group.model}, {group.first} to {group.last}",
            f"1 of {group.members}",
            f"{group.similarity:.3f}",
            group.anchor,
        )
        for number, group in enumerate(dery.sets, 1)
    ]
    columns = (">set", ">stage", "chosen block", ">of the set", ">similarity", "anchor")
    return table(f"One block of each of the {dery.k} equivalence sets", columns, rows)


def dery_lines(dery: Dery, solver: Solver) -> list[str]:
    """What is known of the sets, of the choice, and of what it was chosen by."""
    best = "proven best" if dery.partition_proven else "not proven best"
    sets = f"Equivalence sets: {dery.k}, similarities of {dery.objective:.3f} in all, {best}."
    lines = [sets, _choice(dery, solver)]
    if dery.correlation is not None:
        lines.append(
            f"Rank correlation of {dery.score} with measured quality over the networks tried: "
            f"{dery.correlation:+.2f}."
        )
    return lines


def _choice(dery: Dery, solver: Solver) -> str:
    rest = f" but the {solver.already_tried} tried before it" if solver.already_tried else ""
    kind = f"of all networks with one block a set{rest}"
    if dery.score == "quality":
        worth = f"expected quality {percent(solver.objective)}"
    else:
        worth = f"{dery.score} {'-inf' if dery.value is None else f'{dery.value:.6g}'}"
    if dery.enumerated is None:
        return f"Solver: {'proven best' if dery.proven else solver.status} {kind}, {worth}."
    which = "all there are within the budgets" if dery.complete else "those of highest expectation"
    return (
        f"Scored by {dery.score}: {dery.enumerated} networks with one block a set, {which}; the "
        f"best that keeps the budget has {worth}."
    )
