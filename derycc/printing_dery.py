"""Printing DeRy mode: the equivalence sets, and what is known of the choice."""

from rich.table import Table

from derycc.console import table
from derycc.manifest import Solver
from derycc.manifest_dery import Dery
from derycc.printing_choice import choice_lines


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
    return [sets, *choice_lines(dery, solver, "networks with one block a set")]
