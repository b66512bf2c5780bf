"""Recipes: files that say a network, read strictly, and written back equal."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.recipe import (
    Recipe,
    RecipeSegment,
    RecipeStitch,
    read_recipe,
    shipped,
)
from targets.errors import UnknownNameError, UsageError

A = RecipeSegment("resnet50", "layer1.0", "layer1.2")
B = RecipeSegment("swin", "layers.2.blocks.0", "layers.3.blocks.1")
NAMES = st.text("abc.0123_é", min_size=1, max_size=8)
SEGMENTS = st.builds(RecipeSegment, NAMES, NAMES, NAMES)
STITCHES = st.builds(
    RecipeStitch, st.sampled_from(["dery", "linear"]), st.none() | st.integers(1, 9)
)


def content(**changes: Any) -> dict[str, Any]:
    return {**Recipe((3, 224, 224), 1000, (A, B)).content(), **changes}


def refusal(**changes: Any) -> str:
    with pytest.raises(UsageError) as refused:
        Recipe.from_json(json.dumps(content(**changes)))
    return str(refused.value)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    segments = draw(st.lists(SEGMENTS, min_size=1, max_size=4))
    size = len(segments) - 1
    stitches = draw(st.none() | st.lists(STITCHES, min_size=size, max_size=size).map(tuple))
    side = draw(st.integers(32, 2048))
    ends = st.sampled_from(["dery", "donor"])
    return Recipe(
        (3, side, side),
        draw(st.integers(1, 2000)),
        tuple(segments),
        draw(ends),
        draw(ends),
        stitches,
        draw(st.text(max_size=5)),
    )


@given(recipes())
def test_what_is_written_is_read_back(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe


@given(recipes())
def test_the_recipe_inside_an_assembly_is_read(recipe: Recipe) -> None:
    text = json.dumps({"status": "optimal", "recipe": recipe.content()})

    assert Recipe.from_json(text) == recipe


@given(recipes(), recipes())
def test_recipes_of_one_line_are_one_network(a: Recipe, b: Recipe) -> None:
    alike = (a.input, a.classes, a.segments, a.stem, a.head, a.joints) == (
        *(b.input, b.classes, b.segments, b.stem, b.head, b.joints),
    )

    assert (str(a) == str(b)) == alike


def test_a_recipe_reads_as_a_line() -> None:
    recipe = Recipe((3, 224, 224), 10, (A, B), stitches=(RecipeStitch("dery", 2),))

    assert str(recipe) == (
        "224px dery + resnet50[layer1.0..layer1.2] >dery/2> "
        "swin[layers.2.blocks.0..layers.3.blocks.1] + dery 10"
    )


def test_segments_are_enough() -> None:
    text = json.dumps(
        {
            "format": "derycc.recipe/1",
            "input": [3, 224, 224],
            "classes": 1000,
            "segments": [{"model": "resnet50", "first": "layer1.0", "last": "layer1.2"}],
        }
    )

    assert Recipe.from_json(text) == Recipe((3, 224, 224), 1000, (A,), "dery", "dery", None)


def test_stitches_that_are_left_out_are_linear_where_nothing_is_to_be_trained() -> None:
    whole = Recipe((3, 224, 224), 1000, (A, B), "donor", "donor")

    assert whole.joints == (RecipeStitch("linear"),)
    for ends in (("donor", "dery"), ("dery", "donor"), ("dery", "dery")):
        assert Recipe((3, 224, 224), 1000, (A, B), *ends).joints == (RecipeStitch("dery"),)


def test_models_can_be_renamed() -> None:
    recipe = Recipe((3, 224, 224), 1000, (A, B, A))

    renamed = recipe.renamed({"resnet50": "resnet50.tv_in1k"})

    assert recipe.donors == ("resnet50", "swin")
    assert renamed.donors == ("resnet50.tv_in1k", "swin")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": "ten"}, "classes is 'ten': input should be a valid integer. Correct it."),
        ({"classes": 0}, "There are 0 classes. Use 1 or more."),
        ({"stem": "new"}, "stem is 'new': input should be 'dery' or 'donor'. Correct it."),
        ({"segments": []}, "There are no segments. Give at least one."),
        (
            {"segments": [{"model": "a", "first": "b"}]},
            "segments[0].last is missing. Add it.",
        ),
        (
            {"stiches": []},
            "stiches is not part of the format. Correct its name, or remove it.",
        ),
        (
            {"input": [3, 224, 192]},
            "The input is [3, 224, 192]. Use [3, S, S] with S from 32 to 2048 pixels.",
        ),
        (
            {"input": [1, 224, 224]},
            "The input is [1, 224, 224]. Use [3, S, S] with S from 32 to 2048 pixels.",
        ),
        (
            {"stitches": []},
            "There are 0 stitches and 2 segments. Give one stitch fewer than segments, or leave "
            "them out.",
        ),
        ({"stitches": [{"stride": 0}]}, "A stitch has the stride 0. Use 1 or more."),
    ],
)
def test_what_is_no_network_is_refused(changes: dict[str, Any], said: str) -> None:
    assert refusal(**changes) == f"The recipe is not usable: {said}"


def test_another_format_is_refused() -> None:
    assert refusal(format="derycc.recipe/2").startswith(
        "The recipe has the format 'derycc.recipe/2'; this version reads"
    )


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(UsageError, match=r"The recipe is not JSON: .* line 1, column 2"):
        Recipe.from_json("{")


def test_recipes_that_come_with_derycc_are_found_by_name() -> None:
    names = ["dery_4_10_3", "dery_4_30_6", "dery_4_50_10", "dery_4_90_20"]

    assert list(shipped()) == names
    for name in names:
        recipe = read_recipe(name)
        assert recipe.note.startswith(f"DeRy({','.join(name.split('_')[1:])})")
        assert (recipe.stem, recipe.head, len(recipe.segments)) == ("dery", "dery", 4)
        assert shipped()[name].read_text("utf-8") == recipe.to_json()


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    recipe = Recipe((3, 64, 64), 10, (A,))
    path.write_text(recipe.to_json())

    assert read_recipe(str(path)) == recipe


def test_a_file_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe((3, 64, 64), 10, (A,))
    (tmp_path / "dery_4_10_3").write_text(recipe.to_json())
    monkeypatch.chdir(tmp_path)

    assert read_recipe("dery_4_10_3") == recipe


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as unknown:
        read_recipe("dery_4_10_4")

    assert "Unknown recipe 'dery_4_10_4'. Did you mean 'dery_4_10_3'" in str(unknown.value)


@pytest.mark.parametrize("name", ["nothing.json", "no/thing"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_recipe(name)

    assert str(refused.value) == (
        f"Cannot read the recipe file '{name}': No such file or directory. Give the path of a "
        "derycc.recipe/1 file."
    )


def test_a_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content(classes=0)))

    with pytest.raises(UsageError) as refused:
        read_recipe(str(path))

    assert str(refused.value) == (
        f"The recipe file '{path}' is not usable: There are 0 classes. Use 1 or more."
    )


def test_the_manifest_of_a_build_names_the_lock_beside_it() -> None:
    with pytest.raises(UsageError, match=r"is the manifest of a build\. Give the derycc\.lock"):
        Recipe.from_json('{\n  "format": "derycc.manifest/3"}')
