"""Printed partitions: how alike the blocks are, and whether DeRy mode can use the sets."""

from compiler.equivalence import EquivalenceSet, Member, Partition
from derycc.printing_partition import partition_lines


def member(model: str, stage: int, similarity: float) -> Member:
    return Member(model, stage, stage, 1, f"n{stage}", f"n{stage}", 10, similarity)


A0, A1 = member("a", 0, 2.0), member("a", 1, 2.0)
B0, B1 = member("b", 0, 1.25), member("b", 1, 1.5)


def found(*sets: tuple[Member, ...]) -> Partition:
    groups = tuple(EquivalenceSet(group[0], group) for group in sets)
    return Partition(len(sets), groups, 6.75, 6.75, True, "linear_cka", 0.2, None, 0, 20, "solver")


def test_the_average_leaves_the_anchors_out() -> None:
    lines = partition_lines(found((A0, B0), (A1, B1)))

    assert lines == [
        "Objective 6.7500: 4 blocks. Those that are no anchors are 1.375 similar to theirs, of at "
        "most 2.",
        "Proven: no partition within the caps is better (solver).",
    ]


def test_anchors_alone_have_no_average() -> None:
    lines = partition_lines(found((A0,), (A1,)))

    assert lines[0] == "Objective 6.7500: 2 blocks. Each is the anchor of its set."


def test_sets_that_dery_mode_cannot_use_are_said_to_be_so() -> None:
    rest = (A1, B1, member("a", 2, 1.5), member("b", 2, 1.5))

    lines = partition_lines(found((A0,), (B0,), rest))

    assert lines[-1] == (
        "No network has one block of every set and one of every stage: derycc build --mode dery "
        "cannot use these sets. Take another -k or --epsilon, or more donors."
    )
