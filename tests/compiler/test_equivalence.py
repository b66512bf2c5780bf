"""Partition files: written, read back, and refused where they are none."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compiler.equivalence import EquivalenceSet, Member, Partition
from targets.errors import UsageError


def member(model: str, stage: int, start: int, nodes: int, similarity: float = 2.0) -> Member:
    first, last = f"n{start}", f"n{start + nodes - 1}"
    return Member(model, stage, start, nodes, first, last, 10 * nodes, similarity)


A0, A1 = member("a", 0, 0, 2), member("a", 1, 2, 1, 1.5)
B0, B1 = member("b", 0, 0, 1, 1.25), member("b", 1, 1, 3)
SETS = (EquivalenceSet(A0, (A0, B0)), EquivalenceSet(B1, (A1, B1)))
PAPER = Partition(2, SETS, 6.75, 7.0, False, "linear_cka", 0.2, None, 0, 20, "derycc prices")


def test_a_file_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "partition.json"
    path.write_text(PAPER.to_json())

    assert Partition.load(path) == PAPER


def test_the_file_says_its_format_first_and_the_sets_in_words() -> None:
    content = json.loads(PAPER.to_json())

    assert next(iter(content)) == "format"
    assert content["format"] == "derycc.partition/1"
    assert content["sets"][0]["anchor"] == {
        "model": "a",
        "stage": 0,
        "start": 0,
        "nodes": 2,
        "first": "n0",
        "last": "n1",
        "params": 20,
        "similarity": 2.0,
    }


def test_a_partition_tells_a_donors_blocks_in_order_and_whose_set_they_are_in() -> None:
    assert PAPER.donors == ("a", "b")
    assert PAPER.blocks("a") == (A0, A1)
    assert PAPER.set_of(A1) == 1
    assert PAPER.sets[0].donors == ("a", "b")
    assert PAPER.blocks("c") == ()


def test_sets_that_share_out_the_stages_are_told_from_others() -> None:
    a, b = ([member(name, stage, stage, 1) for stage in range(3)] for name in "ab")
    rest = (*a[1:], *b[1:])
    crowded = tuple(EquivalenceSet(group[0], group) for group in ((a[0],), (b[0],), rest))

    assert PAPER.has_a_stage_for_every_set
    assert not replace(PAPER, k=3, sets=crowded).has_a_stage_for_every_set


@pytest.mark.parametrize(
    ("objective", "bound", "gap"), [(6.0, 9.0, 0.5), (6.0, None, None), (0.0, 0.5, 0.5)]
)
def test_the_gap_is_a_share_of_the_objective(
    objective: float, bound: float | None, gap: float | None
) -> None:
    assert replace(PAPER, objective=objective, bound=bound).gap == gap


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(PAPER.to_json()), **fields})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "has the format None, not 'derycc.partition/1'"),
        (changed(format="derycc.partition/2"), "has the format 'derycc.partition/2'"),
        (changed(k="two"), "is damaged: k: Input should be a valid integer"),
        (changed(k=3), "into 3 blocks has 3 sets; there are 2"),
    ],
)
def test_what_is_no_partition_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Partition.from_json(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read the partition .*gone\.json: .*No such file"):
        Partition.load(tmp_path / "gone.json")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "picture.json"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(UsageError, match=r"Cannot read the partition .*picture\.json"):
        Partition.load(path)


def test_a_set_without_its_anchor_is_refused() -> None:
    with pytest.raises(UsageError, match=r"The anchor a n0\.\.n1 is no member of its own set"):
        EquivalenceSet(A0, (B0,))


@pytest.mark.parametrize(
    "other", [member("a", 1, 1, 2), member("a", 2, 2, 1), member("a", 1, 2, 0), None]
)
def test_blocks_that_do_not_follow_each_other_are_refused(other: Member | None) -> None:
    rest = (B1,) if other is None else (other, B1)
    sets = (SETS[0], EquivalenceSet(B1, rest))

    with pytest.raises(UsageError, match="The blocks of a do not follow each other in stages 0"):
        replace(PAPER, sets=sets)
