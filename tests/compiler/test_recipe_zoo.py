"""Recipe zoos: models are looked for in the zoo first, then opened by their names."""

from pathlib import Path

import pytest

from compiler import recipe_zoo
from compiler.recipe import Recipe, RecipeSegment
from compiler.recipe_zoo import open_recipe_zoo, parse_weights
from compiler.zoo import Zoo
from compiler.zoo import open_zoo as really_open
from targets.errors import UnknownNameError, UsageError, ZooError


def recipe(*models: str) -> Recipe:
    segments = tuple(RecipeSegment(model, "layer1.0", "layer2.0") for model in models)
    return Recipe((3, 64, 64), 10, segments)


def test_random_weights_are_those_of_the_architecture(tmp_path: Path) -> None:
    named, zoo = open_recipe_zoo(
        recipe("test_resnet.r160_in1k", "test_resnet", "test_vit"), tmp_path, weights="random"
    )

    assert zoo.names == ("test_resnet.random", "test_vit.random")
    assert [segment.model for segment in named.segments] == [
        "test_resnet.random",
        "test_resnet.random",
        "test_vit.random",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_donor_of_the_zoo_goes_first_and_the_others_come_along(tmp_path: Path) -> None:
    named, zoo = open_recipe_zoo(
        recipe("test_resnet"), tmp_path, "random:test_vit,random:test_resnet"
    )

    assert named.donors == ("test_resnet.random",)
    assert zoo.names == ("test_resnet.random", "test_vit.random")


def test_what_was_random_once_stays_random(tmp_path: Path) -> None:
    _, zoo = open_recipe_zoo(recipe("test_resnet.random"), tmp_path, weights="pretrained")

    assert zoo.names == ("test_resnet.random",)


def test_pretrained_weights_are_opened_by_their_full_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def opened(home: Path, text: str, progress: object) -> Zoo:
        asked.append(text)
        return really_open(home, "random:test_resnet")

    monkeypatch.setattr(recipe_zoo, "open_zoo", opened)

    open_recipe_zoo(recipe("test_resnet.r160_in1k"), tmp_path)

    assert asked == ["test_resnet.r160_in1k"]


@pytest.mark.parametrize("weights", ["random", "pretrained"])
def test_an_unknown_model_is_met_with_the_nearest(tmp_path: Path, weights: str) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown .*'test_resnot'\. Did you mean"):
        open_recipe_zoo(recipe("test_resnot"), tmp_path, weights=parse_weights(weights))


def test_weights_are_one_of_two_kinds() -> None:
    assert parse_weights("random") == "random"
    with pytest.raises(UnknownNameError, match="Unknown kind of weights 'trained'"):
        parse_weights("trained")


def test_a_recipe_may_not_choose_code_that_is_run(tmp_path: Path) -> None:
    with pytest.raises(ZooError) as caught:
        open_recipe_zoo(recipe("evil.nets:go"), tmp_path)

    assert str(caught.value) == (
        "The recipe names code as a model: evil.nets:go. A file may not choose what code is run; "
        "that is for you to do: --zoo evil.nets:go."
    )


def test_a_model_that_is_several_networks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_recipe_zoo(recipe("random:test_vit,test_resnet"), tmp_path)

    assert str(caught.value) == (
        "The recipe's model 'random:test_vit,test_resnet' is 2 networks: test_vit.random, "
        "test_resnet.random. Name one of them."
    )
