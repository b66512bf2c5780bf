"""Recipes on the command line: listed, checked, and built like a network that a search found."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compiler.recipe import Recipe, RecipeSegment, shipped
from derycc.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

RESIDUAL, EFFICIENT = "test_resnet", "test_efficientnet"
DERY = Recipe(
    (3, 64, 64),
    10,
    (
        RecipeSegment(RESIDUAL, "layer1.0", "layer2.0"),
        RecipeSegment(EFFICIENT, "blocks.4.0", "blocks.4.0"),
    ),
)
# Nothing of it has to be trained.
WHOLE = Recipe(
    (3, 64, 64),
    1000,
    (
        RecipeSegment(EFFICIENT, "input", "blocks.1.0"),
        RecipeSegment(RESIDUAL, "layer2.0", "output"),
    ),
    "donor",
    "donor",
)


def written(folder: Path, recipe: Recipe) -> Path:
    path = folder / "mine.json"
    path.write_text(recipe.to_json())
    return path


def words(workshop: "Workshop", home: Path) -> list[str]:
    """The options of a build by hand, without a zoo."""
    found = ["--home", str(home), "--target", "reference", "--data", str(workshop.plain)]
    return [*found, "--quick", "--weights", "random"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def built(workshop: "Workshop", home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of DERY with a budget that it keeps."""
    folder = tmp_path_factory.mktemp("built")
    recipe, out = written(folder, DERY), folder / "build"
    result = workshop.derycc(
        "build", "--recipe", recipe, "--latency", "50ms", "--out", out, *words(workshop, home)
    )
    assert result.exit_code == 0, result.output
    (folder / "build.txt").write_text(result.stdout)
    return out


@pytest.fixture(scope="module")
def manifest(built: Path) -> Manifest:
    return read_manifest(built)


def test_the_recipes_that_come_along_are_listed(workshop: "Workshop") -> None:
    printed = workshop.derycc("recipe", "list")
    listed = json.loads(workshop.derycc("recipe", "list", "--json").stdout)

    assert [row["name"] for row in listed] == list(shipped())
    assert listed[0]["segments"][0] == {
        "model": "regnety_160.tv2_in1k",
        "first": "s1.b1",
        "last": "s1.b2",
    }
    assert "DeRy(4,10,3)" in printed.stdout


def test_a_recipe_is_counted_part_by_part(workshop: "Workshop", tmp_path: Path) -> None:
    path = written(tmp_path, DERY)

    result = workshop.derycc("recipe", "check", path, "--home", tmp_path / "home", "--json")

    found = json.loads(result.stdout)
    at = {row["at"]: row for row in found["boundaries"]}
    assert list(at) == ["input", "stem", "segment 1", "stitch 1", "segment 2", "head"]
    assert {name: row["shape"] for name, row in at.items()} == {
        "input": [1, 3, 64, 64],
        "stem": [1, 32, 16, 16],
        "segment 1": [1, 48, 8, 8],
        "stitch 1": [1, 48, 4, 4],
        "segment 2": [1, 64, 2, 2],
        "head": [1, 10],
    }
    new = sum(row["params"] for row in at.values() if row["new"])
    assert found["trainable_frozen"] == new == 4_768 + 9_312 + 650
    assert found["params"] == sum(row["params"] for row in at.values())
    assert found["macs"] == sum(row["macs"] for row in at.values())
    assert found["untrained"] == ["the stem", "stitch 1", "the head"]
    assert not (tmp_path / "home").exists()


def test_a_recipe_is_printed_as_a_table(workshop: "Workshop", tmp_path: Path) -> None:
    result = workshop.derycc("recipe", "check", written(tmp_path, WHOLE), "--home", tmp_path)

    said = result.stdout
    assert result.exit_code == 0
    assert "linear" in said
    assert "trainable_frozen  800 (all donors' segments frozen)" in said
    assert "untrained" not in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["dery_4_10"], 2, "Unknown recipe 'dery_4_10'. Did you mean 'dery_4_10_3'"),
        (["none.json"], 2, "Cannot read the recipe file 'none.json'"),
        (["dery_4_10_3", "--weights", "good"], 2, "Unknown kind of weights 'good'"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    workshop: "Workshop", arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    result = workshop.derycc("recipe", "check", *arguments, "--home", tmp_path)

    assert said in workshop.refusal(result, code)


def test_donors_are_looked_for_in_the_zoo_first(workshop: "Workshop", tmp_path: Path) -> None:
    path = written(tmp_path, DERY)
    zoo = f"random:{RESIDUAL}"

    result = workshop.derycc(
        "recipe", "check", path, "--home", tmp_path, "--zoo", zoo, "--weights", "random", "--json"
    )

    models = [segment["model"] for segment in json.loads(result.stdout)["recipe"]["segments"]]
    assert models == ["test_resnet.random", "test_efficientnet.random"]


def test_a_build_by_hand_is_measured_verified_and_written(built: Path, manifest: Manifest) -> None:
    assert (
        manifest.network.recipe
        == DERY.renamed(
            {RESIDUAL: "test_resnet.random", EFFICIENT: "test_efficientnet.random"}
        ).content()
    )
    assert manifest.network.untrained == ("the stem", "stitch 1", "the head")
    assert manifest.network.stitches == ("dery cnn2cnn, stride 2: NCHW 48x8x8 > NCHW 48x4x4",)
    assert manifest.verified.passed
    assert (manifest.solver, manifest.tried, manifest.quality.expected) == (None, (), None)
    assert (manifest.latency.budget_us, manifest.latency.predicted_us) == (50_000.0, None)
    assert manifest.latency.within_budget
    assert len((built / "labels.txt").read_text().splitlines()) == 10


def test_what_is_untrained_is_said(built: Path) -> None:
    said = " ".join((built.parent / "build.txt").read_text().split())
    report = (built / "report.html").read_text()

    assert "Written down by hand: nothing was searched for, and nothing predicted." in said
    assert "Note: the stem, stitch 1, the head are untrained (random weights)" in said
    assert "Untrained (random weights): the stem, stitch 1, the head." in report
    assert "It keeps its budget" in report
    assert "Candidates that were built" not in report


def test_a_build_by_hand_is_verified_and_measured_again(
    workshop: "Workshop", built: Path, home: Path
) -> None:
    verified = workshop.derycc("verify", built, "--home", home)
    measured = workshop.derycc("bench", built, "--home", home)

    assert verified.stdout.startswith("passed on reference: 10 photographs")
    assert (verified.exit_code, measured.exit_code) == (0, 0)


def test_its_assembly_is_a_recipe_that_can_be_checked(
    workshop: "Workshop", built: Path, tmp_path: Path
) -> None:
    result = workshop.derycc(
        "recipe", "check", built / "assembly.json", "--home", tmp_path, "--json"
    )

    assert json.loads(result.stdout)["params"] == read_manifest(built).network.params


def test_a_budget_that_is_missed_writes_nothing(
    workshop: "Workshop", home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    result = workshop.derycc(
        "build",
        "--recipe",
        written(tmp_path, DERY),
        "--latency",
        "10us",
        "--out",
        out,
        *words(workshop, home),
    )

    said = workshop.refusal(result, 4)
    assert said.startswith("The network of the recipe takes ")
    assert "and 0.01 ms were asked for. Ask for that much, leave --latency out" in said
    assert not out.exists()


def test_a_share_of_a_donor_is_a_budget(workshop: "Workshop", home: Path, tmp_path: Path) -> None:
    result = workshop.derycc(
        "build",
        "--recipe",
        written(tmp_path, DERY),
        "--latency",
        "1% of test_resnet",
        "--out",
        tmp_path / "out",
        *words(workshop, home),
    )

    assert "The network of the recipe takes" in workshop.refusal(result, 4)


def test_without_a_budget_whatever_is_measured_is_written(
    workshop: "Workshop", home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    result = workshop.derycc(
        "build",
        "--recipe",
        written(tmp_path, WHOLE),
        "--out",
        out,
        "--json",
        *words(workshop, home),
    )

    content: dict[str, Any] = json.loads(result.stdout)
    assert (content["budget"], content["latency"]["budget_us"]) == (None, None)
    assert content["network"]["untrained"] == []
    assert "It has no budget" in (out / "report.html").read_text()
    assert workshop.derycc("verify", out, "--home", home).exit_code == 0
    assert "budget    -" in workshop.derycc("bench", out, "--home", home).stdout


def test_the_answer_of_a_search_is_built_again_from_its_recipe(
    workshop: "Workshop", papers: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    assembly = workshop.build / "assembly.json"

    result = workshop.derycc(
        "build",
        *workshop.words(workshop.copy("home", tmp_path))[:6],
        "--data",
        workshop.plain,
        "--quick",
        "--recipe",
        assembly,
        "--out",
        out,
        "--json",
    )

    assert result.exit_code == 0, result.output
    again = read_manifest(out)
    assert again.network.segments == papers.network.segments
    assert again.network.params == papers.network.params
    assert again.files["model.onnx"] == papers.files["model.onnx"]
    assert again.files["network.safetensors"] == papers.files["network.safetensors"]


def test_a_dry_run_counts_and_writes_nothing(workshop: "Workshop", tmp_path: Path) -> None:
    home = tmp_path / "home"
    path = written(tmp_path, DERY)

    result = workshop.derycc("build", "--recipe", path, *words(workshop, home), "--dry-run")
    plan = json.loads(
        workshop.derycc(
            "build", "--recipe", path, *words(workshop, home), "--dry-run", "--json"
        ).stdout
    )["plan"]

    assert result.stdout.splitlines() == plan
    assert plan[0].startswith("Recipe: 64px dery + test_resnet.random[layer1.0..layer2.0] >dery>")
    assert "M MACs. Untrained: the stem, stitch 1, the head." in plan[1]
    assert (
        plan[-1]
        == f"Would write {home / 'builds' / 'reference-mine'}. Nothing was built (--dry-run)."
    )
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [],
            "There is nothing to build: give a budget by --latency, --params, --macs, --memory, "
            "--weight-memory or --energy, a goal by --min-quality, or a network by --recipe.",
        ),
        (
            ["--recipe", "dery_4_10_3", "--size", "64", "--macs", "3M"],
            "--size and --macs bound a search, and a recipe leaves nothing to search for. Leave "
            "them out, or change the recipe.",
        ),
    ],
)
def test_a_build_needs_a_budget_or_a_recipe_and_not_both_kinds_of_bounds(
    workshop: "Workshop", arguments: list[str], said: str
) -> None:
    assert workshop.refusal(workshop.derycc("build", *arguments), 2) == said
