"""Precision: what may be asked for, where it runs, and what a build says of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from derycc.lock import read_lock
from derycc.manifest import read_manifest
from derycc.precision import check_mode, with_precision
from derycc.printing import network_lines, precision_lines
from targets.budget import parse_drop
from targets.errors import UnknownNameError, UsageError
from targets.target import get_target

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

CPU = get_target("cpu:threads=1")


def test_a_target_measures_int8_blocks_where_they_may_be_used() -> None:
    assert with_precision(CPU, "fp32") == CPU
    assert with_precision(CPU, "auto").precisions == ("fp32", "int8")
    both = get_target("cpu:threads=1,precisions=fp32+int8")
    assert with_precision(both, "int8") == both


@pytest.mark.parametrize("asked", ["fp16", "bf16"])
def test_half_precision_is_refused_where_nothing_runs_it(asked: str) -> None:
    with pytest.raises(UsageError, match=f"--precision {asked} needs a target that runs {asked}"):
        with_precision(CPU, asked)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="fp23"):
        with_precision(CPU, "fp23")


def test_a_target_without_int8_is_refused() -> None:
    with pytest.raises(UsageError, match="reference runs its networks by 'reference'"):
        with_precision(get_target("reference"), "auto")


def test_several_targets_are_refused() -> None:
    with pytest.raises(UsageError, match="--also names others"):
        with_precision(CPU, "auto", ("cpu:threads=2",))


def test_dery_mode_is_fp32() -> None:
    check_mode("dery", None, ())
    check_mode("normal", "quality", ("--precision",))
    with pytest.raises(UsageError, match="--mode dery takes whole stages, in fp32"):
        check_mode("dery", None, ("--precision",))
    with pytest.raises(UsageError, match="--score naswot chooses by something else"):
        check_mode("normal", "naswot", ("--precision",))


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0%", 0.0), ("0.02", 0.02)])
def test_a_drop_is_a_share(text: str, share: float) -> None:
    assert parse_drop(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["-1%", "101%", "some", ""])
def test_what_is_no_share_is_no_drop(text: str) -> None:
    with pytest.raises(UsageError, match="as the most that int8 may cost"):
        parse_drop(text)


def test_a_recipe_is_built_in_float(workshop: "Workshop") -> None:
    result = workshop.run("build", "--recipe", "NAME", "--precision", "auto")

    assert workshop.refusal(result, 2).startswith("--size and --precision bound a search")


@pytest.fixture(scope="module")
def built(workshop: "Workshop", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the tiny zoo with every block in int8 that can be, on ONNX Runtime."""
    root = tmp_path_factory.mktemp("int8")
    words = ["--latency", "1s", "--precision", "int8", "--max-drop", "100%", "--stitches", "0"]
    target = ["--target", "cpu:threads=1", "--home", root / "home", "--out", root / "build"]
    result = workshop.run("build", *words, *target)
    assert result.exit_code == 0, result.output
    (root / "said.txt").write_text(result.stdout)
    return root / "build"


def test_a_build_says_and_proves_the_precision_of_every_piece(built: Path) -> None:
    papers = read_manifest(built)

    assert papers.precision is not None
    assert {piece.asked for piece in papers.precision.pieces} >= {"int8"}
    assert all(piece.kept for piece in papers.precision.pieces)
    assert papers.precision.cosine >= 0.99
    assert papers.verified.gate == 0.99
    assert papers.target == "cpu:threads=1,precisions=fp32+int8"
    lines = "\n".join(network_lines(papers))
    assert "int8 (100% in integer kernels)" in lines
    assert "blocks were offered in int8." in lines
    assert lines in (built.parent / "said.txt").read_text()
    assert papers.session is not None and papers.session.precision == "int8"
    checked = json.loads((built / "verify.json").read_text())
    assert [piece["asked"] for piece in checked["pieces"]] == [
        piece.asked for piece in papers.precision.pieces
    ]


def test_a_piece_that_runs_in_float_is_told(built: Path) -> None:
    papers = read_manifest(built)
    assert papers.precision is not None
    piece = next(p for p in papers.precision.pieces if p.asked == "int8")
    wrong = replace(piece, integer=0.0)
    told = replace(papers, precision=replace(papers.precision, pieces=(wrong,)))

    said = precision_lines(told)[-1]

    assert said.startswith(f"MISSED: {piece.model}, {piece.start} to {piece.end} was asked for in")


def test_the_lock_of_a_mixed_network_gives_the_same_bytes(
    workshop: "Workshop", built: Path, tmp_path: Path
) -> None:
    words = workshop.words(tmp_path / "home")
    kept = [word for pair in zip(words[::2], words[1::2], strict=False) for word in pair]
    shared = [w for w in kept if w not in ("--size", "64")]
    named = ["--recipe", built / "derycc.lock", "--target", "cpu:threads=1"]

    result = workshop.derycc("build", *shared, "--quick", *named, "--out", tmp_path / "again")

    assert result.exit_code == 0, result.output
    assert "The network is the lock's, bit for bit." in result.stdout
    again, first = read_manifest(tmp_path / "again"), read_manifest(built)
    assert again.files["model.onnx"] == first.files["model.onnx"]
    assert again.precision == first.precision
    assert (
        read_lock(tmp_path / "again" / "derycc.lock").int8 == read_lock(built / "derycc.lock").int8
    )


def test_a_lock_of_a_network_in_float_says_nothing_of_int8(workshop: "Workshop") -> None:
    content = json.loads((workshop.build / "derycc.lock").read_text())

    assert "int8" not in content
    assert read_lock(workshop.build / "derycc.lock").int8 == ()


def test_a_mixed_build_is_explained(workshop: "Workshop", built: Path) -> None:
    result = workshop.derycc("explain", built, "--home", built.parent / "home")

    assert result.exit_code == 0, result.output
    assert "in int8" in result.stdout


def test_a_plan_says_what_would_be_judged(workshop: "Workshop", built: Path) -> None:
    words = ["--latency", "1s", "--precision", "int8", "--target", "cpu:threads=1", "--dry-run"]

    known = workshop.run("build", *words, "--home", built.parent / "home")
    fresh = workshop.run("build", *words, "--home", built.parent / "other")

    assert "Would judge 0 blocks in int8 on photographs; others are known." in known.stdout
    assert "Would judge all blocks in int8 on photographs." in fresh.stdout


def test_a_mixed_build_is_verified_by_its_own_gate(workshop: "Workshop", built: Path) -> None:
    result = workshop.derycc("verify", built, "--home", built.parent / "home")

    assert result.exit_code == 0, result.output
    assert "gate 0.99)" in result.stdout


def test_a_mixed_build_is_not_predicted_as_if_it_were_in_float(
    workshop: "Workshop", built: Path
) -> None:
    result = workshop.derycc("predict", built, "--home", built.parent / "home")

    assert "has blocks in int8" in workshop.refusal(result, 2)


def test_the_report_names_every_piece(built: Path) -> None:
    page = (built / "report.html").read_text()

    assert "<h2>Precision</h2>" in page
    assert "<td>int8</td><td>100.0 %</td>" in page
