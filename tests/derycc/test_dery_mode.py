"""DeRy mode on the command line: from the sets to the papers, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compiler.dery_bench import DerySettings
from compiler.equivalence import Partition
from derycc.building import Request, out_folder
from derycc.dery import finite
from derycc.manifest import Manifest, Solver, read_manifest
from derycc.manifest_dery import Dery, EquivalenceSet
from derycc.printing_dery import dery_lines, sets_table

if TYPE_CHECKING:
    from compiler.workbench import Workbench
    from tests.derycc.conftest import Workshop

MODE = ("--mode", "dery", "-k", "2")
WIDE = ("--epsilon", "1", "--latency", "3ms")


@pytest.fixture(scope="module")
def built(workshop: "Workshop", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build by similarity; beside it what was printed."""
    where = tmp_path_factory.mktemp("dery")
    result = workshop.run(
        "build", *MODE, *WIDE, "--score", "similarity", "--seed", "5", "--candidates", "2",
        "--out", where / "build", home=workshop.copy("home", where),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (where / "printed.txt").write_text(result.stdout)
    return where / "build"


def test_the_manifest_says_how_the_network_was_chosen(built: Path) -> None:
    papers = read_manifest(built)

    dery = papers.dery
    assert dery is not None
    assert (dery.k, dery.score, dery.seed, dery.epsilon) == (2, "similarity", 5, 1.0)
    assert sorted(chosen.stage for chosen in dery.sets) == [1, 2]
    assert dery.value == pytest.approx(sum(chosen.similarity for chosen in dery.sets))
    assert (dery.proven, dery.enumerated, dery.complete) == (True, None, None)
    assert {chosen.model for chosen in dery.sets} == {s.model for s in papers.network.segments}
    assert all(tried.score is not None for tried in papers.tried)
    assert papers.latency.within_budget


def test_the_sets_are_in_the_folder_and_the_question_in_the_lock(built: Path) -> None:
    partition = Partition.load(built / "partition.json")
    lock = json.loads((built / "derycc.lock").read_text())

    papers = read_manifest(built)
    assert papers.dery is not None
    assert [chosen.anchor for chosen in papers.dery.sets] == [str(g.anchor) for g in partition.sets]
    assert "partition.json" in papers.files
    assert lock["request"]["dery"] == {"k": 2, "score": "similarity", "epsilon": 1.0, "seed": 5}
    assert (lock["request"]["budget"]["stitches"], lock["seed"]) == (1, 5)


def test_a_budget_in_parameters_needs_none_in_latency(workshop: "Workshop", tmp_path: Path) -> None:
    result = workshop.run(
        "build", *MODE, "--epsilon", "1", "--params", "5M", "--candidates", "1",
        "--out", tmp_path / "build", home=workshop.copy("home", tmp_path),
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    papers = read_manifest(tmp_path / "build")
    assert papers.latency.budget_us is None
    assert papers.latency.within_budget
    assert papers.network.params <= 5_000_000


def test_what_is_printed_shows_the_sets(built: Path) -> None:
    printed = (built.parent / "printed.txt").read_text()

    assert "Equivalence sets: 2, similarities of" in printed
    assert "Solver: proven best of all networks with one block a set, similarity" in printed
    assert "One block of each of the 2 equivalence sets" in printed
    assert "chosen block" in printed
    assert "Equivalence sets, chosen from by similarity" in (built / "report.html").read_text()


def test_a_proxy_ranks_and_the_same_question_has_the_same_answer(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home = workshop.copy("home", tmp_path)
    words = ("build", *MODE, *WIDE, "--score", "naswot", "--json")

    results = [workshop.run(*words, "--out", tmp_path / name, home=home) for name in "ab"]

    assert [result.exit_code for result in results] == [0, 0], results[0].output
    first, second = (json.loads(result.stdout) for result in results)
    assert first["dery"] == second["dery"]
    assert first["network"] == second["network"]
    assert first["dery"]["complete"] is True
    assert first["dery"]["enumerated"] == len(first["tried"]) >= 1
    scores = [tried["score"] for tried in first["tried"]]
    assert scores == sorted(scores, reverse=True)
    assert first["dery"]["value"] == scores[0]


def test_budgets_that_no_network_keeps_are_infeasible(workshop: "Workshop", tmp_path: Path) -> None:
    home = workshop.copy("home", tmp_path)

    result = workshop.run("build", *MODE, "--epsilon", "1", "--latency", "1us", home=home)

    said = workshop.refusal(result, 3)
    assert said.startswith(
        "No network with one block from each of the 2 equivalence sets is within the budgets. Of "
        "all of them the least latency (upper end) is 0."
    )
    assert "asked for: 0.001 ms" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mode", "derry"), "Unknown mode 'derry'. Did you mean 'dery'? Known: dery, normal."),
        (("-k", "3"), "-k belongs to DeRy mode. Add --mode dery, or leave it out."),
        (
            ("--score", "naswot", "--seed", "1"),
            "--seed belongs to DeRy mode. Add --mode dery, or leave it out.",
        ),
        (
            ("--mode", "dery", "--score", "nasswot"),
            "Unknown score 'nasswot'. Did you mean 'naswot'",
        ),
        (
            ("--mode", "dery", "--recipe", "dery-4-10-3"),
            "--size and --mode bound a search, and a recipe leaves nothing to search for.",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    workshop: "Workshop", words: tuple[str, ...], said: str
) -> None:
    result = workshop.run("build", "--latency", "1ms", *words)

    assert workshop.refusal(result, 2).startswith(said)


def test_a_score_that_needs_labels_is_refused_before_any_work(
    workshop: "Workshop", tmp_path: Path
) -> None:
    words = ("--latency", "1ms", "--score", "grad_norm", "--out", tmp_path / "build")

    result = workshop.run("build", *MODE, *words)

    assert workshop.refusal(result, 7).startswith("The score 'grad_norm' needs labels")


def test_a_dry_run_says_what_would_be_done(workshop: "Workshop") -> None:
    result = workshop.run("build", *MODE, "--latency", "1ms", "--dry-run")

    assert result.exit_code == 0, result.output
    assert (
        "DeRy mode: would compare the donors on the photographs, cut each into 2 blocks, group "
        "these into 2 equivalence sets, and take one block of each by quality. Which stitches are "
        "measured depends on the sets." in result.stdout
    )
    assert "at most 1 stitches" in result.stdout


def test_builds_of_both_modes_have_folders_of_their_own(desk: "Workbench", tmp_path: Path) -> None:
    request = Request("2ms")

    normal, dery = (
        out_folder(None, asked, tmp_path, desk)
        for asked in (request, replace(request, dery=DerySettings()))
    )

    assert (normal.name, dery.name) == ("reference-2ms", "reference-2ms-dery")


def test_a_build_in_normal_mode_has_no_sets(papers: Manifest) -> None:
    assert papers.dery is None
    assert all(tried.score is None for tried in papers.tried)


SETS = (EquivalenceSet("net", "s1", "s2", 1, 1.25, "other a..b", 3),)
CHOSEN = Dery(1, 0.2, 0, "quality", 0.5, True, None, None, None, 3.25, True, SETS)
SOLVED = Solver("cp-sat", "optimal", 0.5, 0.5, 0.0, 0.1, 0, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            [
                "Solver: proven best of all networks with one block a set but the 2 tried before "
                "it, expected quality 50.0 %."
            ],
        ),
        (
            {"score": "naswot", "value": None, "enumerated": 64, "complete": False},
            [
                "Scored by naswot: 64 networks with one block a set, those of highest "
                "expectation; the best that keeps the budget has naswot -inf."
            ],
        ),
        (
            {"score": "jacov", "value": -12.5, "enumerated": 3, "complete": True,
             "correlation": -0.5},
            [
                "Scored by jacov: 3 networks with one block a set, all there are within the "
                "budgets; the best that keeps the budget has jacov -12.5.",
                "Rank correlation of jacov with measured quality over the networks tried: -0.50.",
            ],
        ),
    ],
)  # fmt: skip
def test_the_choice_is_told_in_words(changes: dict[str, Any], said: list[str]) -> None:
    first, *lines = dery_lines(replace(CHOSEN, **changes), SOLVED)

    assert first == "Equivalence sets: 1, similarities of 3.250 in all, proven best."
    assert lines == said


def test_the_table_has_a_line_a_set() -> None:
    drawn = sets_table(CHOSEN)

    cells = [list(column.cells) for column in drawn.columns]
    assert cells == [["1"], ["1"], ["net, s1 to s2"], ["1 of 3"], ["1.250"], ["other a..b"]]


def test_scores_that_json_cannot_say_are_left_out() -> None:
    assert [finite(score) for score in (1.5, None, float("-inf"))] == [1.5, None, None]
