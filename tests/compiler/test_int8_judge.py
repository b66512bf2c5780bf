"""Int8 judge: losses are measured, block by block, once."""

from pathlib import Path

import pytest

from compiler.block_exports import BlockExports
from compiler.cache import Cache
from compiler.candidates import Photographs
from compiler.donors import Donors
from compiler.int8_judge import Int8Judge
from targets.target import get_target

CPU = get_target("cpu:threads=1")
NAME = "test_resnet.random"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judge")


@pytest.fixture(scope="module")
def judge(folder: Path, tiny_donors: Donors, photographs: Photographs) -> Int8Judge:
    cache = Cache(folder)
    return Int8Judge(BlockExports(tiny_donors, cache), photographs, cache, CPU)


class Told:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.notes: list[str] = []

    def start(self, phase: str, total: int | None) -> None:
        self.phases.append((phase, total))

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        self.notes.append(note)

    def finish(self, summary: str = "") -> None:
        """Ignore."""


def test_every_block_has_a_loss_and_runs_in_integers(judge: Int8Judge, tiny_donors: Donors) -> None:
    blocks = tiny_donors.dissection(NAME, 64).blocks
    told = Told()

    losses = judge.losses(blocks, told)

    assert list(losses) == [block.name for block in blocks] == told.notes
    assert told.phases == [("judging blocks in int8", len(blocks))]
    assert all(0 < loss.error < 0.1 for loss in losses.values())
    assert all(loss.integer == 1.0 for loss in losses.values())
    assert all(0 <= loss.changed <= 1 for loss in losses.values())
    assert all(loss.drop == loss.changed for loss in losses.values())  # no labels


def test_what_was_judged_is_read_back(
    judge: Int8Judge, tiny_donors: Donors, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = tiny_donors.dissection(NAME, 64).blocks
    before = judge.losses(blocks[:2])
    monkeypatch.setattr("compiler.int8_judge._Trial", None)

    assert judge.losses(blocks[:2]) == before
    assert judge.missing(blocks[:2]) == ()


def test_a_run_that_was_stopped_goes_on_where_it_was(
    tiny_donors: Donors, photographs: Photographs, tmp_path: Path
) -> None:
    blocks = tiny_donors.dissection(NAME, 64).blocks[:2]
    cache = Cache(tmp_path)
    judge = Int8Judge(BlockExports(tiny_donors, cache), photographs, cache, CPU)
    judge.losses(blocks[:1])

    assert judge.missing(blocks) == blocks[1:]


def test_other_photographs_are_judged_anew(
    judge: Int8Judge, tiny_donors: Donors, photographs: Photographs, folder: Path
) -> None:
    blocks = tiny_donors.dissection(NAME, 64).blocks
    cache = Cache(folder)
    turned = Photographs(photographs.held_out, photographs.calibration, 2)

    other = Int8Judge(BlockExports(tiny_donors, cache), turned, cache, CPU)

    assert len(other.missing(blocks)) == len(blocks)
