"""derycc predict: builds, recipes and donors are predicted, explained, and compared."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compiler.progress import Silent
from compiler.recipe import Recipe, RecipeSegment
from derycc.manifest import Manifest
from derycc.session import Options, home_of
from derycc.subjects import open_subject

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

DERY = Recipe(
    (3, 64, 64),
    10,
    (
        RecipeSegment("test_resnet", "layer1.0", "layer2.0"),
        RecipeSegment("test_efficientnet", "blocks.4.0", "blocks.4.0"),
    ),
)

STUBBORN = """
import torch
from torch import nn

class Stubborn(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.blocks = nn.ModuleList([stem, *(nn.Conv2d(4, 4, 3, 2, 1) for _ in range(3))])
        self.head = nn.Linear(4 * 2 * 2, 5)

    def forward(self, x):
        for block in self.blocks:
            x = block(x).relu()
        return self.head(x.flatten(1))

def net():
    network = Stubborn()
    network.preprocessing = {"input_size": 32}
    return network
"""
"""A network that takes 32 px and nothing else."""


def written(folder: Path, recipe: Recipe) -> Path:
    path = folder / "mine.json"
    path.write_text(recipe.to_json())
    return path


def predicted(workshop: "Workshop", what: str | Path, *words: str) -> dict[str, Any]:
    result = workshop.run("predict", what, *words, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_a_build_is_predicted_beside_what_it_was_measured_to_take(
    workshop: "Workshop", papers: Manifest
) -> None:
    found = predicted(workshop, workshop.build)

    assert found["predicted_us"] == pytest.approx(papers.latency.measured_us, rel=0.1)
    assert found["recorded"]["median_us"] == papers.latency.measured_us
    assert found["recorded"]["error"] == pytest.approx(
        found["predicted_us"] / papers.latency.measured_us - 1
    )
    low, high = found["interval_us"]
    assert low < found["predicted_us"] < high
    assert found["measured"] is None


def test_the_steps_of_a_prediction_add_up_to_it(workshop: "Workshop") -> None:
    for words in ((), ("--blocks",)):
        found = predicted(workshop, workshop.build, *words)

        steps = found["steps"]
        assert sum(step["total_us"] for step in steps) == pytest.approx(found["predicted_us"])
        for before, after in pairwise(steps):
            end = before["start_us"] + before["total_us"]
            assert after["start_us"] == pytest.approx(end)
    assert len(steps) == 1 + sum(step["parts"] for step in steps)


def test_a_whole_donor_is_predicted_and_measured_now(workshop: "Workshop") -> None:
    found = predicted(workshop, "test_resnet", "--measure")

    assert found["network"] == "64px test_resnet.random[input..output]"
    assert found["recorded"] is None
    assert found["predicted_us"] == pytest.approx(found["measured"]["median_us"], rel=0.1)


def test_what_a_recipe_has_of_its_own_is_measured_alone(
    workshop: "Workshop", tmp_path: Path
) -> None:
    found = predicted(workshop, written(tmp_path, DERY), "--measure")

    names = [step["name"] for step in found["steps"]]
    assert names == ["engine and edges", "stem", "segment 1", "stitch 1", "segment 2", "head"]
    assert all(step["estimated"] == 0 for step in found["steps"])
    assert found["predicted_us"] == pytest.approx(found["measured"]["median_us"], rel=0.25)


def test_a_prediction_is_a_waterfall_for_people(workshop: "Workshop") -> None:
    result = workshop.run("predict", workshop.build)

    assert "engine and edges" in result.stdout
    assert "segment 1" in result.stdout
    assert "█" in result.stdout
    assert "recorded: " in result.stdout
    assert "parts were measured alone, 0 estimated; 8 whole networks" in " ".join(
        result.stdout.split()
    )


def test_a_dry_run_says_what_would_be_measured_and_measures_nothing(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home, recipe = tmp_path / "home", written(tmp_path, replace(DERY, segments=DERY.segments[:1]))

    result = workshop.derycc(
        "predict", recipe, "--home", home, "--target", "reference", "--dry-run"
    )
    known = workshop.run("predict", "test_resnet", "--dry-run")
    plan = predicted(workshop, "test_resnet", "--dry-run", "--measure")

    assert "models of its donors' profile." in result.stdout
    assert "Would measure 3 parts: stem, segment 1, head." in result.stdout
    assert not home.exists()
    assert "Everything it needs is measured already." in known.stdout
    assert (plan["zoo"], plan["parts"], plan["whole"]) == (0, [], True)


def test_a_donor_is_profiled_at_the_sizes_of_its_zoo(tmp_path: Path) -> None:
    zoo = "random:test_resnet,random:test_vit"

    free = open_subject("test_vit", Options(tmp_path, zoo=zoo), "random", Silent())
    told = open_subject("test_vit", Options(tmp_path, zoo=zoo, sizes=(96, 64)), "random", Silent())

    own = {model.preprocessing.input_size for model in free.zoo}
    assert (free.sizes, free.target) == (tuple(sorted(own)), "cpu")
    assert (told.sizes, told.design.input_size) == ((64, 96), 96)


def test_a_build_is_profiled_at_the_sizes_it_was_built_from(
    workshop: "Workshop", tmp_path: Path
) -> None:
    build = workshop.copy("build", tmp_path)
    papers = json.loads((build / "manifest.json").read_text())
    recorded = open_subject(str(build), Options(tmp_path), "random", Silent())
    papers["session"]["sizes"] = [64, 96]
    (build / "manifest.json").write_text(json.dumps(papers))
    changed = open_subject(str(build), Options(tmp_path), "random", Silent())
    asked = open_subject(str(build), Options(tmp_path, sizes=(128,)), "random", Silent())

    assert (recorded.sizes, recorded.target) == ((64,), "reference")
    assert changed.sizes == (64, 96)
    assert asked.sizes == (64, 128)


def test_a_build_is_predicted_with_the_home_folder_that_it_lies_in(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home, elsewhere = workshop.copy("home", tmp_path), tmp_path / "none"
    build = Path(shutil.copytree(workshop.build, home / "builds" / "mine"))

    assert home_of(build, elsewhere) == home
    assert home_of(build, workshop.home) == workshop.home
    assert home_of(workshop.build, elsewhere) == elsewhere
    assert home_of(home / "builds", elsewhere) == elsewhere


def test_what_is_neither_build_nor_recipe_nor_donor_is_refused(workshop: "Workshop") -> None:
    said = workshop.refusal(workshop.run("predict", "test_resnt"), 2)

    assert "test_resnt" in said
    assert "test_resnet" in said


def test_a_folder_that_is_no_build_is_refused(workshop: "Workshop") -> None:
    assert "manifest.json" in workshop.refusal(workshop.run("predict", workshop.plain), 2)


def test_a_build_of_another_machine_is_predicted_and_not_compared(
    workshop: "Workshop", tmp_path: Path
) -> None:
    build = workshop.copy("build", tmp_path)
    papers = json.loads((build / "manifest.json").read_text())
    (build / "manifest.json").write_text(json.dumps({**papers, "environment": "another"}))

    found = predicted(workshop, build)

    assert (found["recorded"], found["recorded_elsewhere"]) == (None, "reference")


def test_a_build_is_measured_by_its_own_file(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)

    found = predicted(workshop, build, "--measure")
    (build / "model.onnx").write_bytes(b"another file")
    said = workshop.refusal(workshop.run("predict", build, "--measure"), 2)

    assert found["measured"]["median_us"] == pytest.approx(found["recorded"]["median_us"], rel=0.05)
    assert said.startswith(f"{build / 'model.onnx'} is not the file that was built")


def test_one_donor_of_random_weights_is_enough_for_a_recipe(
    workshop: "Workshop", tmp_path: Path
) -> None:
    recipe = replace(DERY, segments=DERY.segments[:1])
    words = ["--home", tmp_path / "home", "--target", "reference", "--data", workshop.plain]

    result = workshop.derycc(
        "predict", written(tmp_path, recipe), *words, "--quick", "--json", "--measure"
    )

    found = json.loads(result.stdout)
    assert found["measured_first"]["parts"] == ["stem", "segment 1", "head"]
    assert found["measured_first"]["zoo"] > 0
    assert found["predicted_us"] == pytest.approx(found["measured"]["median_us"], rel=0.25)


def test_donors_that_refuse_the_recipes_input_are_profiled_at_their_own(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    segments = (RecipeSegment("stubborn:net", "blocks.1", "blocks.2"),)
    recipe = written(tmp_path, Recipe((3, 64, 64), 5, segments))
    words = ["--home", "home", "--target", "reference", "--data", workshop.plain, "--quick"]

    result = workshop.derycc("predict", recipe, *words, "--zoo", "stubborn:net", "--json")

    assert result.exit_code == 0, result.output
    steps = json.loads(result.stdout)["steps"]
    assert [step["name"] for step in steps][1:] == ["stem", "segment 1", "head"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["test_resnet", "--weights", "good"], 2, "Unknown kind of weights 'good'"),
        (["none.json"], 2, "Cannot read the recipe file 'none.json'"),
        (
            ["test_resnet", "--target", "cpuu"],
            2,
            "Unknown target 'cpuu'. Did you mean 'cpu' or 'cuda'?",
        ),
        (["test_resnet", "--zoo", "random:test_resnot"], 2, "Unknown zoo or architecture of timm"),
    ],
)
def test_bad_words_are_refused(
    workshop: "Workshop", words: list[str], code: int, said: str
) -> None:
    assert workshop.refusal(workshop.run("predict", *words), code).startswith(said)


def test_without_a_zoo_an_unknown_name_fetches_nothing(
    workshop: "Workshop", tmp_path: Path
) -> None:
    home = tmp_path / "home"

    said = workshop.refusal(workshop.derycc("predict", "dery_4_10", "--home", home), 2)

    assert said.startswith("Unknown build, recipe or donor 'dery_4_10'. Did you mean 'dery_4_10_3'")
    assert "tf_efficientnet_lite0.in1k" in said
    assert not home.exists()
