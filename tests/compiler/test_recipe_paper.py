"""The networks of DeRy's paper, from their block lists alone, and other families like them.

Published counts: tables 3 and 7 of Yang et al., NeurIPS 2022, and what its configurations say.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compiler.donors import Donors
from compiler.macs import module_macs
from compiler.recipe import Recipe, RecipeSegment, read_recipe, shipped
from compiler.recipe_network import build_plan
from compiler.recipe_plan import RecipePlan, plan_recipe
from compiler.recipe_zoo import open_recipe_zoo
from compiler.zoo import open_zoo

SWIN = "swin_tiny_patch4_window7_224"


def architecture(model: str) -> str:
    return model.partition(".")[0]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Donors:
    """All donors of the paper's networks, without weights; each is cut once for all tests."""
    models = {architecture(model) for name in shipped() for model in read_recipe(name).donors}
    text = ",".join(f"random:{name}" for name in sorted({*models, SWIN}))
    return Donors(open_zoo(tmp_path_factory.mktemp("paper"), text), shapes_only=True)


def planned(recipe: Recipe, shapes: Donors) -> RecipePlan:
    names = {model: f"{architecture(model)}.random" for model in recipe.donors}
    return plan_recipe(recipe.renamed(names), shapes)


def of_nodes(*segments: tuple[str, str, str], size: int = 224, classes: int = 1000) -> Recipe:
    return Recipe((3, size, size), classes, tuple(RecipeSegment(*names) for names in segments))


@pytest.mark.parametrize(
    ("name", "params", "macs", "trainable"),
    [
        ("dery_4_10_3", 7_834_434, 2_954_775_840, 1_024_216),
        ("dery_4_30_6", 24_893_616, 4_436_326_400, 1_568_552),
        ("dery_4_50_10", 40_414_054, 6_390_677_376, 3_921_832),
        ("dery_4_90_20", 80_661_279, 13_254_713_344, 1_266_408),
    ],
)
def test_the_networks_of_the_paper_have_their_published_counts(
    name: str, params: int, macs: int, trainable: int, shapes: Donors
) -> None:
    plan = planned(read_recipe(name), shapes)
    network = build_plan(plan, shapes).freeze()

    assert (plan.params, plan.macs, plan.trainable_frozen) == (params, macs, trainable)
    assert sum(p.numel() for p in network.parameters()) == params
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == trainable
    assert network(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)


def test_networks_joined_by_hand_have_their_published_counts(shapes: Donors) -> None:
    first = ("resnet50", "layer1.0", "layer2.3")
    residuals = of_nodes(first, ("resnet50", "layer3.0", "layer4.2"), classes=100)
    windows = of_nodes(first, (SWIN, "layers.2.downsample", "layers.3.blocks.1"), classes=100)

    counts = [planned(recipe, shapes).params for recipe in (residuals, windows)]

    assert [f"{count / 1e6:.2f} M" for count in counts] == ["23.98 M", "27.94 M"]


def test_strides_that_are_left_out_are_those_of_three_of_the_four(shapes: Donors) -> None:
    names = ("dery_4_30_6", "dery_4_50_10", "dery_4_90_20")
    recipes = [read_recipe(name) for name in names]

    left_out = [planned(replace(recipe, stitches=None), shapes) for recipe in recipes]

    assert [plan.params for plan in left_out] == [24_893_616, 40_414_054, 80_661_279]


FAMILIES = {
    "regnets": of_nodes(
        ("regnety_002", "s1.b1", "s2.b1"),
        ("regnety_004", "s3.b2", "s3.b3"),
        ("regnety_032", "s4.b1", "s4.b1"),
        size=64,
    ),
    "inverted residuals": of_nodes(
        ("mobilenetv2_100", "blocks.1.0", "blocks.2.1"),
        ("mobilenetv3_small_100", "blocks.2.1", "blocks.3.0"),
        ("efficientnet_lite0", "blocks.4.1", "blocks.6.0"),
        size=64,
    ),
    "residuals and tokens": of_nodes(
        ("resnet18", "layer1.0", "layer2.1"),
        ("vit_tiny_patch16_224", "blocks.2", "blocks.3"),
        ("vit_small_patch16_224", "blocks.9", "blocks.10"),
        ("convnext_atto", "stages.2.blocks.5", "stages.3.blocks.0"),
        size=64,
    ),
    "windows and residuals": of_nodes(
        ("resnet18", "layer1.0", "layer1.1"),
        (SWIN, "layers.1.downsample", "layers.1.blocks.1"),
        ("resnet18", "layer4.0", "layer4.1"),
        size=128,
    ),
}


@pytest.mark.parametrize("recipe", FAMILIES.values(), ids=FAMILIES)
def test_other_families_are_joined_from_their_block_lists_alone(
    recipe: Recipe, tmp_path: Path
) -> None:
    named, zoo = open_recipe_zoo(recipe, tmp_path, weights="random")
    donors = Donors(zoo)
    plan = plan_recipe(named, donors)
    network = build_plan(plan, donors)
    x = torch.randn(2, *recipe.input, generator=torch.Generator().manual_seed(0))

    network.train()(x).square().mean().backward()

    assert all(parameter.grad is not None for parameter in network.parameters())
    assert sum(p.numel() for p in network.parameters()) == plan.params
    assert module_macs(network.eval(), x[:1]) == plan.macs
