"""Constraints on the command line: they are solved for, measured, written down, and refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compiler.assembly import assemble
from compiler.problem import Problem
from derycc.building import Request, limits, named
from derycc.manifest import read_manifest
from derycc.manifest_asked import Constraint
from derycc.planning import plan
from derycc.printing_asked import constraint_rows, least_quality
from targets.budget import Budget
from targets.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from compiler.workbench import Workbench
    from tests.derycc.conftest import Workshop

RESNET, EFFICIENTNET = "test_resnet.random", "test_efficientnet.random"


@pytest.fixture(scope="module")
def home(workshop: "Workshop", tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workshop.copy("home", tmp_path_factory.mktemp("constrained"))


def test_every_constraint_is_in_the_manifest_beside_what_was_measured(
    workshop: "Workshop", home: Path, tmp_path: Path
) -> None:
    result = workshop.run(
        "build", "--latency", "1.2ms", "--params", "400k", "--memory", "50MB",
        "--weight-memory", "2MB", "--max-donors", "2", "--with", "test_resnet", "--out",
        tmp_path / "out", "--problem-out", tmp_path / "problem.json", home=home,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    papers = read_manifest(tmp_path / "out")
    found = {one.resource: one for one in papers.constraints}
    assert list(found) == [
        "latency_us", "stitches", "params", "macs", "weight_bytes", "memory_bytes", "energy_j",
        "donors",
    ]  # fmt: skip
    assert found["params"].asked == 400_000
    assert found["params"].predicted == found["params"].measured == papers.network.params
    assert found["weight_bytes"].measured is not None
    assert found["weight_bytes"].predicted == pytest.approx(found["weight_bytes"].measured, rel=0.1)
    assert found["memory_bytes"].measured is None  # the reference clock runs nothing
    assert (found["memory_bytes"].predicted or 0) > found["weight_bytes"].measured
    assert found["donors"].asked == 2
    assert all(one.kept for one in papers.constraints)
    assert papers.demands is not None
    assert papers.demands.required == (RESNET,)
    assert RESNET in {segment.model for segment in papers.network.segments}
    assert "peak memory" in result.stdout
    problem = Problem.load(tmp_path / "problem.json")
    answer = json.loads((tmp_path / "out" / "assembly.json").read_text())
    solved = assemble(problem)
    assert solved.objective is not None
    assert solved.objective >= answer["objective"] - 1e-9


def test_a_least_quality_asks_for_the_fastest_network(
    workshop: "Workshop", home: Path, tmp_path: Path
) -> None:
    result = workshop.run(
        "build", "--min-quality", "20%", "--without", "test_efficientnet", "--out",
        tmp_path / "out", home=home,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    papers = read_manifest(tmp_path / "out")
    assert [segment.model for segment in papers.network.segments] == [RESNET]
    assert papers.quality.chosen_by >= 0.2
    assert least_quality(papers) == "20 %"
    assert papers.latency.budget_us is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--with", "nothing"), "Unknown donor 'nothing'."),
        (("--with", "test_resnet", "--without", "test_resnet"), "must be in the network (--with)"),
        (("--exclude-licence", "NONE"), "leave no donor of test_efficientnet.random (none)"),
        (("--energy", "1mJ"), "No energy was measured on reference"),
        (("--memory", "many"), "Cannot read 'many' as a size"),
        (("--min-quality", "120%"), "Cannot read '120%' as a quality"),
        (("--min-quality", "20%", "--mode", "dery"), "Leave one of the two out."),
    ],
)
def test_what_cannot_be_asked_for_is_said(
    workshop: "Workshop", home: Path, words: tuple[str, ...], said: str
) -> None:
    result = workshop.run("build", "--latency", "1.2ms", *words, home=home)

    assert said in workshop.refusal(result, 2)


def test_a_refusal_says_what_would_be_enough(workshop: "Workshop", home: Path) -> None:
    result = workshop.run("build", "--latency", "1.2ms", "--memory", "1kB", home=home)
    least = workshop.refusal(result, 3).split("one of them: peak memory ")[1].rstrip(".")
    again = workshop.run("build", "--latency", "1.2ms", "--memory", least, "--json", home=home)

    assert again.exit_code == 0, again.output


def test_the_least_latency_that_is_named_can_be_asked_for(workshop: "Workshop", home: Path) -> None:
    result = workshop.run("build", "--latency", "1us", home=home)
    least = workshop.refusal(result, 3).split("takes ")[1].split(" (upper")[0]
    again = workshop.run("build", "--latency", least, "--json", home=home)

    assert again.exit_code in (0, 4), again.output  # found; what is measured is another matter


def test_a_problem_that_cannot_be_written_is_said(
    workshop: "Workshop", home: Path, tmp_path: Path
) -> None:
    words = ("--latency", "1.2ms", "--problem-out", tmp_path)

    result = workshop.run("build", *words, home=home)

    assert workshop.refusal(result, 2).startswith(f"Cannot write the problem to {tmp_path}: ")
    assert len(result.stderr.splitlines()) == 1  # nothing was begun


def test_paths_below_a_file_are_refused_before_any_work(
    workshop: "Workshop", home: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "there"

    problem = workshop.run("build", "--latency", "1.2ms", "--problem-out", below, home=home)
    folder = workshop.run("build", "--latency", "1.2ms", "--out", below, home=home)

    assert workshop.refusal(problem, 2).startswith("Cannot write the problem to ")
    assert workshop.refusal(folder, 2).startswith("Cannot write the build to ")
    assert len(problem.stderr.splitlines()) == len(folder.stderr.splitlines()) == 1


def test_a_recipe_and_constraints_do_not_go_together(workshop: "Workshop") -> None:
    words = ("--recipe", "x", "--params", "1M", "--with", "a", "--exclude-licence", "b")

    result = workshop.derycc("build", "--home", "h", *words)

    assert workshop.refusal(result, 2).startswith(
        "--params and --with and --exclude-licence bound a search, and a recipe leaves nothing"
    )


def test_a_plan_lists_the_constraints(desk: "Workbench", tmp_path: Path) -> None:
    budget = Budget(stitches=1, memory_bytes=50_000_000, donors=1, excluded=("test_resnet",))

    lines = plan(Request("1ms", budget, licences=("GPL",)), desk, tmp_path)

    assert lines[0].startswith(
        "Target reference, budget 1ms, peak memory 50 MB, number of donors 1, without test_resnet, "
        "no licence GPL, at most 1 stitches, "
    )
    assert lines[1] == "Donors: test_efficientnet.random."


def test_licences_name_donors_that_are_left_out(desk: "Workbench") -> None:
    with pytest.raises(UsageError, match="leave no donor"):
        named(Request("1ms", licences=("non",)), desk)
    with pytest.raises(UnknownNameError):
        named(Request("1ms", Budget(required=("nothing",))), desk)
    assert named(Request("1ms", licences=("GPL",)), desk).excluded == ()


def test_energy_needs_a_meter(desk: "Workbench") -> None:
    with pytest.raises(UsageError, match="the machine has no meter"):
        limits(Request("1ms", Budget(energy_j=1.0)), desk)


def test_a_missed_constraint_is_marked(papers: Any) -> None:
    rows = constraint_rows(
        [
            Constraint("latency_us", 1.0, 1.0, 1.0),
            Constraint("memory_bytes", 1e6, None, 2e6),
            Constraint("params", None, 1.0, 1.0),
        ]
    )

    assert rows == [("peak memory", "1 MB", "-", "2 MB MISSED")]
    assert least_quality(replace(papers, demands=None)) == ""


def test_a_sweep_keeps_constraints_at_every_budget(workshop: "Workshop", home: Path) -> None:
    words = ("--latency", "2ms", "--without", "test_resnet", "--json", "--candidates", "1")

    result = workshop.run("sweep", *words, home=home)

    (point,) = json.loads(result.stdout)["points"]
    assert {segment["model"] for segment in point["network"]["segments"]} == {EFFICIENTNET}
