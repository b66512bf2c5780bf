"""derycc predict: builds, recipes and donors are predicted, explained, and compared."""

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compiler.recipe import Recipe, RecipeSegment
from derycc.manifest import Manifest

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
    recipe = tmp_path / "mine.json"
    recipe.write_text(DERY.to_json())

    found = predicted(workshop, recipe, "--measure")

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
    home, recipe = tmp_path / "home", tmp_path / "mine.json"
    recipe.write_text(DERY.to_json())

    result = workshop.run("predict", recipe, "--dry-run", home=home)
    known = workshop.run("predict", "test_resnet", "--dry-run")

    assert "models of its donors' profile." in result.stdout
    assert "Would measure 4 parts: stem, segment 1, stitch 1, head." in result.stdout
    assert not (home / "costs.sqlite").exists()
    assert "Everything it needs is measured already." in known.stdout


def test_what_is_neither_build_nor_recipe_nor_donor_is_refused(workshop: "Workshop") -> None:
    said = workshop.refusal(workshop.run("predict", "test_resnt"), 2)

    assert "test_resnt" in said
    assert "test_resnet" in said


def test_a_folder_that_is_no_build_is_refused(workshop: "Workshop") -> None:
    assert "manifest.json" in workshop.refusal(workshop.run("predict", workshop.plain), 2)
