"""`derycc partition`: what it prints and writes, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from compiler.equivalence import EquivalenceSet, Member, Partition
from derycc.app import app
from derycc.printing_partition import partition_lines

ZOO = "random:test_efficientnet,random:test_resnet"


class Desk:
    """A home folder with photographs, in which `derycc partition` is run."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.photographs = root / "photographs"
        self.photographs.mkdir()
        random = np.random.default_rng(0)
        for i in range(12):
            pixels = random.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((80, 80)).save(self.photographs / f"{i}.png")

    def partition(self, *words: str | Path, home: Path | None = None) -> Result:
        options = ["--home", home or self.home, "--zoo", ZOO, "--size", "64"]
        options += ["--data", self.photographs, "-k", "2", *words]
        return CliRunner().invoke(app, ["partition", *map(str, options)])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


def refusal(result: Result) -> str:
    """The paragraph of a command that ended with exit code 2."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr.splitlines()[-1]


def test_it_prints_the_sets_and_writes_them(desk: Desk) -> None:
    result = desk.partition()

    assert result.exit_code == 0, result.output
    zoo = "random-test_efficientnet-random-test_resnet"
    (path,) = (desk.home / "partitions").glob(f"{zoo}-k2-linear_cka-*.json")
    written = Partition.load(path)
    assert written.proven
    assert written.donors == ("test_efficientnet.random", "test_resnet.random")
    for group in written.sets:
        for member in group.members:
            assert f"│ {member} " in result.stdout
    assert "Equivalence sets by linear_cka" in result.stdout
    assert f"Objective {written.objective:.4f}: 4 blocks" in result.stdout
    assert "Proven: no partition within the caps is better" in result.stdout


def test_another_request_does_not_replace_a_partition(desk: Desk) -> None:
    desk.partition()

    assert desk.partition("--seed", "1").exit_code == 0

    assert len(list((desk.home / "partitions").glob("*.json"))) == 2


def test_json_is_the_file(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "sets.json"

    result = desk.partition("--out", path, "--json")

    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout == path.read_text()
    assert json.loads(result.stdout)["format"] == "derycc.partition/1"


def test_the_options_reach_the_partition(desk: Desk, tmp_path: Path) -> None:
    words = ["--epsilon", "none", "--param-epsilon", "1", "--measure", "rbf_cka", "--biased"]
    words += ["--seed", "3", "--starts", "2", "--exact", "never"]

    result = desk.partition(*words, "--out", tmp_path / "sets.json", "--json")

    found = Partition.from_json(result.stdout)
    assert (found.epsilon, found.param_epsilon, found.measure) == (None, 1.0, "rbf_cka")
    assert (found.seed, found.starts, found.solver) == (3, 2, "derycc prices")


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    result = desk.partition("--dry-run", home=tmp_path / "home")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        "test_efficientnet.random: 5 nodes, 81,604 parameters in them.",
        "test_resnet.random: 4 nodes, 365,216 parameters in them.",
        "Would compare 11 boundaries of 2 donors by linear_cka, and group 4 blocks into 2 sets.",
    ]
    assert result.stdout.endswith("Nothing was compared (--dry-run).\n")
    assert not (tmp_path / "home").exists()


def test_a_dry_run_answers_in_json_too(desk: Desk, tmp_path: Path) -> None:
    result = desk.partition("--dry-run", "--json", home=tmp_path / "home")

    assert len(json.loads(result.stdout)["plan"]) == 4


def test_a_partition_may_be_written_over_and_nothing_else(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "sets.json"
    again = [desk.partition("--out", path).exit_code for _ in range(2)]
    path.write_text("my notes")

    message = refusal(desk.partition("--out", path))

    assert again == [0, 0]
    assert message.startswith(f"derycc: {path} exists and is no partition of derycc")
    assert path.read_text() == "my notes"
    assert "is a folder" in refusal(desk.partition("--out", tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", "4"], "test_efficientnet.random has 5 nodes and 81,604 parameters in them, and "),
        (["-k", "9"], "test_efficientnet.random has 5 nodes, so it cannot be cut into 9 blocks."),
        (["--epsilon", "much"], "Cannot read 'much' as --epsilon. Give a number such as 0.2,"),
        (["--param-epsilon", "-1"], "param_epsilon is -1.0. Give a number that is not negative"),
        (["--measure", "linear_kca"], "Unknown measure of similarity 'linear_kca'. Did you mean "),
        (["--exact", "allways"], "Unknown choice of --exact 'allways'. Did you mean 'always'?"),
        (["--time-limit", "0"], "The time limit is 0.0 s. Give a positive number of seconds."),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_paragraph(
    desk: Desk, words: list[str], message: str
) -> None:
    assert refusal(desk.partition(*words)).startswith(f"derycc: {message}")


def test_the_smallest_epsilon_that_works_is_told_and_works(desk: Desk, tmp_path: Path) -> None:
    words = ["-k", "4", "--out", tmp_path / "sets.json"]

    message = refusal(desk.partition(*words))

    assert "The smallest epsilon with which it can is 0.6." in message
    assert desk.partition(*words, "--epsilon", "0.6").exit_code == 0


def member(model: str, stage: int) -> Member:
    return Member(model, stage, stage, 1, f"n{stage}", f"n{stage}", 10, 2.0)


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (8.8, "Not proven: no partition within the caps is above 8.8000 (10 % more)."),
        (None, "Not proven, and no bound is known."),
    ],
)
def test_what_is_not_proven_and_which_sets_lack_a_donor_is_said(
    bound: float | None, said: str
) -> None:
    a, b, c, d = member("a", 0), member("a", 1), member("b", 0), member("b", 1)
    sets = (EquivalenceSet(a, (a, b, c)), EquivalenceSet(d, (d,)))
    found = Partition(2, sets, 8.0, bound, False, "linear_cka", 0.2, None, 0, 20, "prices")

    lines = partition_lines(found)

    assert lines[1].startswith(said)
    assert lines[2:] == ["Set 2 has no block of a."]
