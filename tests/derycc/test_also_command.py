"""Several targets on the command line: one network within every budget, or one network for each."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.table import Table

from compiler.assembly import assemble
from compiler.problem import Problem
from derycc.also import Also, parse_also
from derycc.explaining import asked
from derycc.manifest import Manifest, read_manifest
from derycc.printing_sweep import sweep_table

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

THERE = "reference:threads=2"
BOTH = ("--latency", "1.2ms", "--also", f"1.25ms on {THERE}")
"""The reference clock is the same however many threads there are."""


@pytest.fixture(scope="module")
def home(workshop: "Workshop", tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workshop.copy("home", tmp_path_factory.mktemp("targets"))


@pytest.fixture(scope="module")
def common(workshop: "Workshop", home: Path) -> Path:
    """A network for both targets; beside it lie the problem and what was printed."""
    folder = home.parent / "parts" / "common"
    problem = home.parent / "problem.json"
    words = (*BOTH, "--out", folder, "--problem-out", problem, "--candidates", "2")
    result = workshop.run("build", *words, home=home)
    assert result.exit_code == 0, result.output
    (home.parent / "build.txt").write_text(result.stdout)
    return folder


@pytest.fixture(scope="module")
def built(common: Path) -> Manifest:
    return read_manifest(common)


def test_one_network_keeps_the_budget_on_every_target(built: Manifest) -> None:
    here, there = built.targets

    assert (here.target, here.budget, here.budget_us) == ("reference", "1.2ms", 1200.0)
    assert (there.target, there.budget, there.budget_us) == (THERE, "1.25ms", 1250.0)
    for one in (here, there):
        assert one.within
        assert one.measured_us <= one.measured_interval_us[1] <= (one.budget_us or 0)
        assert one.predicted_us == pytest.approx(one.measured_us, rel=0.2)
        assert one.cosine > 0.9999
    assert here.environment == built.environment != there.environment
    assert here.measured_us == built.latency.measured_us
    assert len(built.network.stitches) >= 1


def test_every_target_is_a_resource_of_the_program(built: Manifest, home: Path) -> None:
    problem = Problem.load(home.parent / "problem.json")
    rows = {one.resource: one for one in built.constraints}

    answer = assemble(problem)

    assert dict(problem.limits)[f"latency_us@{THERE}"] == 1250.0
    assert answer.cost(f"latency_us@{THERE}") <= 1250.0
    there = rows[f"latency_us@{THERE}"]
    assert there.asked == 1250.0
    assert there.predicted == pytest.approx(built.targets[1].predicted_upper_us)
    assert there.measured == built.targets[1].measured_interval_us[1]
    assert asked(built).elsewhere == ((THERE, 1250.0),)


def test_the_lock_has_the_table_of_every_target(common: Path, built: Manifest) -> None:
    lock = json.loads((common / "derycc.lock").read_text())

    assert [row["target"] for row in lock["targets"]] == ["reference", THERE]
    assert [row["environment"] for row in lock["targets"]] == [
        one.environment for one in built.targets
    ]
    assert [row["cost_table"] for row in lock["targets"]] == [one.costs for one in built.targets]
    assert lock["targets"][0]["cost_table"] == lock["cost_table"]
    assert lock["request"]["also"] == [{"latency": "1.25ms", "target": THERE}]


def test_tables_and_report_tell_of_every_target(common: Path, home: Path) -> None:
    printed = (home.parent / "build.txt").read_text()
    report = (common / "report.html").read_text()

    assert "latency on reference " in printed
    assert f"latency on {THERE} " in printed
    assert f"A network for 1.2ms on reference, 1.25ms on {THERE}</h1>" in report
    assert f"On {THERE} it keeps its budget: " in report
    assert report.count(f"latency on {THERE}") == 1


def test_a_sweep_keeps_a_budget_elsewhere_at_every_point(workshop: "Workshop", home: Path) -> None:
    words = ("--also", f"1.25ms on {THERE}", "--candidates", "1", "--build-seconds", "60")

    result = workshop.run(
        "sweep", "--latency", "1.2ms", "--latency", "9ms", *words, "--json", home=home
    )

    points = json.loads(result.stdout)["points"]
    assert result.exit_code == 0, result.output
    assert [point["within_budget"] for point in points] == [True, True]
    assert all(point["elsewhere"][THERE]["upper_us"] <= 1250.0 for point in points)
    assert points[1]["best_donor"] is None or points[1]["best_donor"]["upper_us"] <= 1250.0
    assert f"measured on {THERE}" in wide(sweep_table(points))


def wide(table: Table) -> str:
    console = Console(width=400, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_an_explanation_tells_of_every_target(
    workshop: "Workshop", common: Path, home: Path
) -> None:
    table = workshop.derycc("explain", common, "--home", home)
    data = json.loads(workshop.derycc("explain", common, "--home", home, "--json").stdout)

    assert table.exit_code == 0, table.output
    assert f"latency on {THERE} (upper end)" in " ".join(table.stdout.split())
    bounds = {bound["name"]: bound for bound in data["bounds"]}
    assert bounds[f"latency_us@{THERE}"]["asked"] == 1250.0
    assert bounds[f"latency_us@{THERE}"]["used"] <= 1250.0
    assert all(piece["elsewhere"][0][0] == THERE for piece in data["pieces"])
    assert data["costs_changed"] is False


def test_a_build_is_measured_and_compared_again_on_every_target(
    workshop: "Workshop", common: Path, home: Path
) -> None:
    measured = workshop.derycc("bench", common, "--home", home, "--target", THERE, "--json")
    options = ("--home", home, "--data", workshop.plain)
    compared = workshop.derycc("verify", common, *options)

    assert json.loads(measured.stdout)["budget_us"] == 1250.0
    assert compared.exit_code == 0, compared.output
    assert "verifying on reference with 10 photographs" in compared.stderr
    assert f"verifying on {THERE} with 10 photographs" in compared.stderr


def test_a_budget_that_only_the_other_target_misses_is_refused_by_name(
    workshop: "Workshop", home: Path
) -> None:
    words = ("--latency", "1.2ms", "--also", f"0.2ms on {THERE}")

    message = workshop.refusal(workshop.run("build", *words, home=home), 3)

    assert message.startswith(
        f"No network of this zoo is predicted to run within 0.2 ms on {THERE} and keep the other "
        f"limits. The fastest possible on {THERE} within the other limits takes "
    )


def test_a_share_counts_from_the_donor_on_that_target(
    workshop: "Workshop", home: Path, tmp_path: Path
) -> None:
    words = ("--latency", "2ms", "--also", f"99% of test_efficientnet on {THERE}", "--dry-run")

    result = workshop.run("build", *words, "--json", home=home)

    first, _, here, there, *_ = json.loads(result.stdout)["plan"]
    assert first.startswith(
        f"Target reference, budget 2ms, 99% of test_efficientnet on {THERE}, at most 2 stitches"
    )
    assert here == "On reference: Everything is measured; the budget is 2.00 ms."
    assert there.startswith(f"On {THERE}: Would first measure ")


def test_a_front_keeps_the_budget_of_the_other_target(workshop: "Workshop", home: Path) -> None:
    words = ("front", "--latency", "0.8ms..2ms", "--also", f"1.2ms on {THERE}")

    points = json.loads(workshop.run(*words, "--json", home=home).stdout)["points"]
    table = workshop.run(*words, home=home).stdout

    assert points
    assert all(point["elsewhere"][THERE]["upper_us"] <= 1200.0 for point in points)
    assert "upper end on" in " ".join(table.split())


def test_each_target_gets_a_network_of_its_own_beside_the_common_one(
    workshop: "Workshop", home: Path, common: Path, built: Manifest
) -> None:
    words = ("--latency", "1.2ms", "--also", f"1.25ms on {THERE}", "--each", "--candidates", "2")

    result = workshop.run("build", *words, "--out", common.parent, "--json", home=home)

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [one["target"] for one in found["builds"]] == ["reference", THERE]
    first, second = (read_manifest(Path(one["folder"])) for one in found["builds"])
    assert (first.target, first.budget, len(first.targets)) == ("reference", "1.2ms", 1)
    assert (second.target, second.budget, len(second.targets)) == (THERE, "1.25ms", 1)
    assert second.latency.within_budget
    assert found["common"]["targets"][1]["target"] == THERE
    assert found["sharing_costs"]["reference"] == pytest.approx(
        first.quality.chosen_by - built.quality.chosen_by
    )


def test_separate_builds_go_on_where_one_has_no_network(
    workshop: "Workshop", home: Path, tmp_path: Path
) -> None:
    words = ("--latency", "0.2ms", "--also", f"1.25ms on {THERE}", "--each", "--candidates", "1")

    result = workshop.run("build", *words, "--out", tmp_path / "out", home=home)

    message = workshop.refusal(result, 3)
    assert message.startswith("On reference: No network of this zoo is predicted to run within")
    assert "none: see below" in result.stdout
    assert "without --each" in result.stdout
    assert read_manifest(tmp_path / "out" / "reference-threads-2").target == THERE


def test_a_plan_for_each_target_is_one_after_the_other(workshop: "Workshop", home: Path) -> None:
    result = workshop.run("build", *BOTH, "--each", "--dry-run", "--json", home=home)

    lines = json.loads(result.stdout)["plan"]
    assert [line for line in lines if line.startswith("Target ")] == [
        "Target reference, budget 1.2ms, at most 2 stitches, input sizes 64 px.",
        f"Target {THERE}, budget 1.25ms, at most 2 stitches, input sizes 64 px.",
    ]
    assert any("-each/reference-threads-2" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--also", "1ms"), "Cannot read '1ms' as a latency on another target."),
        (("--also", "1ms on reference"), "The target reference (--also) is named twice"),
        (("--also", "1ms on nothing"), "Unknown target 'nothing'"),
        (("--each",), "--each builds for several targets, and --target is the only one."),
        (("--also", f"1ms on {THERE}", "--recipe", "x"), "--also bound a search"),
        (
            ("--also", f"1ms on {THERE}", "--each", "--problem-out", "p.json"),
            "--problem-out writes one problem, and --each solves one a target.",
        ),
    ],
)
def test_what_makes_no_sense_with_several_targets_is_said(
    workshop: "Workshop", home: Path, words: tuple[str, ...], said: str
) -> None:
    result = workshop.run("build", "--latency", "1.2ms", *words, home=home)

    assert said in workshop.refusal(result, 2)


def test_an_old_manifest_knows_one_target(papers: Manifest) -> None:
    content = json.loads(papers.to_json())
    assert [one["target"] for one in content["targets"]] == ["reference"]
    assert content["targets"][0]["within"] is True


def test_what_is_asked_also_is_a_latency_and_a_target() -> None:
    assert parse_also(["1ms on a", "50% of b on c:threads=2"]) == (
        Also("1ms", "a"),
        Also("50% of b", "c:threads=2"),
    )
    assert str(Also("50% of b", "c")) == "50% of b on c"
    assert parse_also(None) == ()
