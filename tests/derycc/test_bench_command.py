"""`derycc bench`: a build beside another, and beside other runtimes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from derycc.benching import BenchRequest, parse_request
from derycc.manifest import read_manifest
from profilers.protocol import Protocol
from targets.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

QUICK = Protocol(
    rounds=3, max_rounds=3, unit_seconds=1e-4, warmup_seconds=0, min_units=3, max_seconds=0.01
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BenchRequest, "protocol", QUICK)


@pytest.mark.usefixtures("quick")
def test_a_build_is_the_same_as_its_copy_and_faster_batches_are_told(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home, words = tmp_path / "home", ("--rounds", "3", "--zoo", read_manifest(workshop.build).zoo)
    copy = workshop.copy("build", tmp_path)

    result = workshop.derycc(
        "bench",
        workshop.build,
        "--home",
        home,
        "--against",
        copy,
        "--batches",
        "1,2",
        "--json",
        *words,
    )

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["comparison"]
    assert [(one["name"], one["batch"]) for one in found["engines"]] == [
        ("build", 1),
        ("against", 1),
        ("build", 2),
        ("against", 2),
    ]
    assert [pair["verdict"] for pair in found["pairs"]] == ["SAME", "SAME"]
    assert found["pairs"][0]["ratio"] == pytest.approx(1.0)
    for one in found["engines"]:
        assert one["images_per_second"] == pytest.approx(1e6 * one["batch"] / one["median_us"])
    assert [path.suffixes for path in (home / "bench").iterdir()] == [[".finished", ".jsonl"]]


@pytest.mark.usefixtures("quick")
def test_peers_are_measured_in_the_same_run_and_missing_ones_are_named(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    zoo = read_manifest(workshop.build).zoo

    result = workshop.derycc(
        "bench",
        workshop.build,
        "--home",
        tmp_path,
        "--peers",
        "onnxruntime,torch,openvino",
        "--rounds",
        "3",
        "--zoo",
        zoo,
    )

    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("\u2502")]
    named = [row.split("\u2502")[1].strip() for row in rows]
    assert named[:1] == ["build"]
    assert {"onnxruntime", "torch"} <= set(named)
    missing = "Not measured: openvino@1: The peer 'openvino' cannot be used here: openvino is not"
    assert ("openvino" in named) != (missing in result.stdout)


def test_a_dry_run_says_what_would_be_measured(workshop: "Workshop", tmp_path: Path) -> None:
    result = workshop.derycc(
        "bench",
        workshop.build,
        "--home",
        tmp_path / "home",
        "--peers",
        "all",
        "--batches",
        "1,4",
        "--dry-run",
    )

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "Would measure build, onnxruntime, openvino, torch, torch.compile at batch 1, 4, in 7 "
        "rounds of 10 fresh processes each.",
        "That takes about 210 s. Nothing was measured (--dry-run).",
    ]
    assert not (tmp_path / "home").exists()


def test_another_folder_that_is_no_build_is_refused(workshop: "Workshop", tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    result = workshop.derycc(
        "bench", workshop.build, "--home", tmp_path, "--against", tmp_path / "other", "--dry-run"
    )

    assert "other" in workshop.refusal(result, 2)


@pytest.mark.parametrize("batches", ["", "0", "1,", "two", "1,-2", "5000", "1.5"])
def test_batches_that_are_no_numbers_are_refused(batches: str) -> None:
    with pytest.raises(UsageError, match=r"as batches\. Use whole numbers from 1 to 1024"):
        parse_request(Path(), None, None, batches, 7)


def test_a_peer_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UnknownNameError, match="tensorflow"):
        parse_request(Path(), None, "tensorflow", "1", 7)


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 3 with --rounds"):
        parse_request(Path(), None, None, "1", 2)
