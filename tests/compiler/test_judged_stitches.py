"""Judged stitches: drops are kept by zoo and photographs, and damage is not believed."""

from pathlib import Path

import pytest

from compiler.cache import Cache
from compiler.candidates import Photographs
from compiler.judged_stitches import JudgedStitches
from compiler.zoo import Zoo
from targets.errors import WorkspaceError
from tests.compiler.stitch_cases import network, observed, stitch


@pytest.fixture
def kept(tmp_path: Path, tiny_zoo: Zoo, photographs: Photographs) -> JudgedStitches:
    return JudgedStitches(Cache(tmp_path), tiny_zoo, photographs, "test_resnet.random")


def test_what_was_kept_is_read_back(kept: JudgedStitches) -> None:
    kept.add({network(2): observed(0.25, stitch(0.6, strided=True))})
    kept.add({network(1): observed(-0.125, stitch(0.2)), network(2): observed(0.5, stitch())})

    assert kept.read() == {
        network(1): observed(-0.125, stitch(0.2)),
        network(2): observed(0.5, stitch()),
    }
    assert list(kept.read()) == [network(1), network(2)]


def test_before_anything_is_judged_there_is_nothing(kept: JudgedStitches) -> None:
    assert kept.read() == {}


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": "derycc.drops/9", "rows": []}'])
def test_a_damaged_file_or_one_of_another_format_holds_nothing(
    kept: JudgedStitches, content: bytes
) -> None:
    kept.add({network(1): observed(0.1, stitch())})

    kept.path.write_bytes(content)

    assert kept.read() == {}


def test_numbers_that_are_no_features_hold_nothing(kept: JudgedStitches) -> None:
    kept.add({network(1): observed(0.1, stitch(0.375))})

    kept.path.write_text(kept.path.read_text().replace("0.375", "-7"))

    assert kept.read() == {}


def test_a_file_that_cannot_be_opened_is_said_so(kept: JudgedStitches) -> None:
    kept.path.mkdir(parents=True)

    with pytest.raises(WorkspaceError, match="Cannot read the drops that were judged, "):
        kept.read()


def test_other_photographs_are_another_file(
    tmp_path: Path, tiny_zoo: Zoo, photographs: Photographs, kept: JudgedStitches
) -> None:
    turned = Photographs(photographs.held_out, photographs.calibration, 2)
    other = JudgedStitches(Cache(tmp_path), tiny_zoo, turned, "test_resnet.random")

    kept.add({network(1): observed(0.1, stitch())})

    assert other.read() == {}
