"""`--score` without DeRy mode: what chose is said everywhere, and what it is worth."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from derycc.manifest import read_manifest

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

WIDE = ("--latency", "3ms", "--stitches", "1")


@pytest.fixture(scope="module")
def home(workshop: "Workshop", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of its own: candidates are built in it."""
    return workshop.copy("home", tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def built(workshop: "Workshop", home: Path) -> Path:
    """A build by similarity; beside it what was printed, and the problem that was solved."""
    out, problem = home / "similar", home / "problem.json"
    words = ("--score", "similarity", "--candidates", "3", "--problem-out", problem)
    result = workshop.run("build", *WIDE, *words, "--out", out, home=home)
    assert result.exit_code == 0, result.output
    (home / "printed.txt").write_text(result.stdout)
    return out


def test_the_papers_say_what_the_network_was_chosen_by(built: Path, home: Path) -> None:
    papers = read_manifest(built)
    printed = (home / "printed.txt").read_text()
    report = (built / "report.html").read_text()

    choice = papers.choice
    assert choice is not None
    assert (choice.score, choice.enumerated) == ("similarity", None)
    assert choice.value is not None
    assert 0.0 < choice.value <= 1.0
    assert papers.tried[0].score == choice.value
    assert len(papers.network.stitches) == 1
    assert f"of all networks, similarity {choice.value:.6g}." in " ".join(printed.split())
    assert f"similarity {choice.value:.6g}." in report
    assert json.loads((built / "derycc.lock").read_text())["request"]["score"] == "similarity"


def test_the_problem_that_was_solved_is_the_one_of_similarity(
    workshop: "Workshop", built: Path, home: Path
) -> None:
    result = workshop.derycc("solve", home / "problem.json", "--json")

    papers = read_manifest(built)
    assert papers.choice is not None
    assert json.loads(result.stdout)["objective"] >= papers.choice.value - 1e-9


def test_a_build_by_similarity_is_explained(workshop: "Workshop", built: Path, home: Path) -> None:
    result = workshop.derycc("explain", built, "--home", home)

    assert result.exit_code == 0, result.output


def test_a_proxy_is_said_with_the_number_of_networks_that_it_ranked(
    workshop: "Workshop", home: Path
) -> None:
    words = ("--score", "naswot", "--candidates", "2", "--json", "--out", home / "naswot")
    result = workshop.run("build", "--latency", "3ms", "--stitches", "0", *words, home=home)

    assert result.exit_code == 0, result.output
    choice = json.loads(result.stdout)["choice"]
    assert (choice["score"], choice["enumerated"], choice["complete"]) == ("naswot", 2, True)


def test_without_a_score_it_is_quality_that_chose(workshop: "Workshop") -> None:
    choice = read_manifest(workshop.build).choice

    assert choice is not None
    assert (choice.score, choice.value) == (
        "quality",
        read_manifest(workshop.build).quality.chosen_by,
    )


def test_a_sweep_says_its_score_for_every_budget(workshop: "Workshop", home: Path) -> None:
    words = ("--latency", "2ms", "--latency", "3ms", "--score", "similarity", "--candidates", "2")

    data = workshop.run("sweep", *words, "--json", home=home)
    said = workshop.run("sweep", *words, home=home)

    assert data.exit_code == said.exit_code == 0, data.output
    assert [p["choice"]["score"] for p in json.loads(data.stdout)["points"]] == ["similarity"] * 2
    assert "Networks were chosen by similarity." in said.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("build", "--min-quality", "10%", "--score", "similarity"),
            "--min-quality asks for the least latency, and --score chooses by another measure. "
            "Leave one of the two out.",
        ),
        (("build", "--latency", "2ms", "--score", "nasswot"), "Unknown score 'nasswot'."),
        (("build", "--recipe", "dery_4_10_3", "--score", "naswot"), "--size and --score bound"),
    ],
)
def test_what_a_score_does_not_go_with_is_refused(
    workshop: "Workshop", words: tuple[str, ...], said: str
) -> None:
    assert workshop.refusal(workshop.run(*words), 2).startswith(said)


def test_a_score_that_needs_labels_is_refused_without_any(workshop: "Workshop") -> None:
    result = workshop.run("build", "--latency", "2ms", "--score", "grad_norm")

    assert workshop.refusal(result, 7).startswith("The score 'grad_norm' needs labels")


def test_budgets_that_no_network_keeps_name_the_fastest(workshop: "Workshop") -> None:
    result = workshop.run("build", "--latency", "1us", "--score", "similarity")

    assert "The fastest possible" in workshop.refusal(result, 3)
