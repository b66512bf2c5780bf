"""Printing partitions: the sets as a table, and how good they are in words."""

from rich.table import Table

from compiler.equivalence import EquivalenceSet, Member, Partition
from derycc.console import Row, table


def partition_table(found: Partition) -> Table:
    """One line a block, the anchor of every set first."""
    columns = ("set", "block", ">stage", ">similarity", ">nodes", ">parameters")
    rows = [row for number, group in enumerate(found.sets) for row in _rows(number, group)]
    return table(f"Equivalence sets by {found.measure}", columns, rows)


def _rows(number: int, group: EquivalenceSet) -> list[Row]:
    others = [member for member in group.members if member != group.anchor]
    others.sort(key=lambda member: -member.similarity)
    rows = [_row(str(number + 1), group.anchor, "anchor")]
    return rows + [_row("", member, f"{member.similarity:.3f}") for member in others]


def _row(number: str, member: Member, similarity: str) -> Row:
    return (
        number,
        str(member),
        str(member.stage + 1),
        similarity,
        str(member.nodes),
        f"{member.params / 1e6:.2f} M",
    )


def partition_lines(found: Partition) -> list[str]:
    """The objective, its proof or bound, and which sets are not for every donor."""
    blocks = sum(len(group.members) for group in found.sets)
    lines = [f"Objective {found.objective:.4f}: {blocks} blocks. {_average(found)}", _proof(found)]
    for number, group in enumerate(found.sets):
        absent = [donor for donor in found.donors if donor not in group.donors]
        if absent:
            lines.append(f"Set {number + 1} has no block of {', '.join(absent)}.")
    if not found.has_a_stage_for_every_set:
        lines.append(
            "No network has one block of every set and one of every stage: derycc build --mode "
            "dery cannot use these sets. Take another -k or --epsilon, or more donors."
        )
    return lines


def _average(found: Partition) -> str:
    """Of the blocks that are no anchors: an anchor and itself have 2, the most there is."""
    others = [m.similarity for group in found.sets for m in group.members if m != group.anchor]
    if not others:
        return "Each is the anchor of its set."
    average = sum(others) / len(others)
    return f"Those that are no anchors are {average:.3f} similar to theirs, of at most 2."


def _proof(found: Partition) -> str:
    if found.proven:
        return f"Proven: no partition within the caps is better ({found.solver})."
    if found.bound is None or found.gap is None:
        return "Not proven, and no bound is known. Allow more time with --time-limit."
    return (
        f"Not proven: no partition within the caps is above {found.bound:.4f} "
        f"({100 * found.gap:.2g} % more). Allow more time with --time-limit."
    )
