"""Judged stitches: drops are kept by zoo and photographs, and damage is not believed."""

import json
import multiprocessing
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any

import pytest

from compiler.cache import Cache
from compiler.candidates import Photographs
from compiler.judged_stitches import JudgedStitches
from compiler.preprocessing import Preprocessing
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


def judge_in_turn(folder: Path, first: int) -> None:
    """What one process does: keeps drops of ten networks, one after the other."""
    model: Any = SimpleNamespace(identity="model", preprocessing=Preprocessing(32))
    zoo = Zoo((model,))
    images: Any = SimpleNamespace(digest="images")
    kept = JudgedStitches(Cache(folder), zoo, images, "reference")
    (folder / f"ready {first}").touch()
    end = monotonic() + 60
    while len(list(folder.glob("ready *"))) < 2 and monotonic() < end:
        sleep(0.001)
    for number in range(first, first + 10):
        kept.add({network(number): observed(0.1, stitch())})


def test_two_processes_that_judge_at_once_lose_nothing(tmp_path: Path) -> None:
    start = multiprocessing.get_context("spawn")
    both = [start.Process(target=judge_in_turn, args=(tmp_path, first)) for first in (0, 10)]

    for one in both:
        one.start()
    for one in both:
        one.join(100)

    (path,) = tmp_path.glob("*/drops/*.json")
    assert [one.exitcode for one in both] == [0, 0]
    assert len(json.loads(path.read_text())["rows"]) == 20


def test_no_order_of_donors_hides_what_was_judged_and_another_crop_does(
    tmp_path: Path, photographs: Photographs
) -> None:
    def path(*donors: tuple[str, float]) -> Path:
        models: list[Any] = [
            SimpleNamespace(
                name=name, identity=name, known_top1=None, preprocessing=Preprocessing(32, crop)
            )
            for name, crop in donors
        ]
        return JudgedStitches(Cache(tmp_path), Zoo(tuple(models)), photographs, "a").path

    assert path(("a", 0.875), ("b", 0.9)) == path(("b", 0.9), ("a", 0.875))
    assert path(("a", 0.875), ("b", 0.9)) != path(("a", 0.9), ("b", 0.875))
    assert path(("a", 0.9), ("b", 0.9)) == path(("b", 0.9), ("a", 0.9))


def test_before_anything_is_judged_there_is_nothing(kept: JudgedStitches) -> None:
    assert kept.read() == {}
    assert kept.sha256 is None


def test_what_is_judged_changes_the_file_s_hash(kept: JudgedStitches) -> None:
    kept.add({network(1): observed(0.1, stitch())})
    before = kept.sha256

    kept.add({network(1): observed(0.1, stitch())})
    again = kept.sha256
    kept.add({network(2): observed(0.1, stitch())})

    assert before is not None
    assert again == before != kept.sha256


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
