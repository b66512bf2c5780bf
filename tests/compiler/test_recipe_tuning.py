"""Tuning recipes: what least squares can fit is fitted, and nothing else is touched."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from compiler.design import build_design, build_tuned, design_of
from compiler.donors import Donors
from compiler.images import ImageSet
from compiler.network import Network
from compiler.preprocessing import Preprocessing
from compiler.recipe import Recipe, RecipeSegment, RecipeStitch
from compiler.recipe_network import RecipeNetwork, build_plan
from compiler.recipe_plan import plan_recipe
from compiler.recipe_tuning import fit_linear, tune_recipe
from compiler.stitching import Stitch
from compiler.tuning import fit_pairs
from compiler.views import Views

EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"
VIT, SWIN = "test_vit.random", "swin.random"
LINEAR, DERY = RecipeStitch("linear"), RecipeStitch("dery")


def views(donors: Donors, recipe: Recipe, pictures: ImageSet) -> Views:
    wants = donors.preprocessing(recipe.segments[0].model, recipe.input_size)
    return Views(pictures, wants, per_image=4)


def normal(pixels: torch.Tensor) -> torch.Tensor:
    return Preprocessing(64).normalize(pixels)


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    ("model", "cut", "last", "classes"),
    [
        (VIT, ("blocks.2", "blocks.3"), "blocks.5", 1000),
        (SWIN, ("layers.0.blocks.1", "layers.1.downsample"), "layers.1.blocks.1", 10),
    ],
)
def test_a_donor_stitched_to_itself_is_itself(
    model: str,
    cut: tuple[str, str],
    last: str,
    classes: int,
    four_donors: Donors,
    pictures: ImageSet,
) -> None:
    halves = (RecipeSegment(model, "input", cut[0]), RecipeSegment(model, cut[1], last))
    recipe = Recipe((3, 64, 64), classes, halves, "donor", "donor")
    donor = Recipe((3, 64, 64), classes, (RecipeSegment(model, "input", last),), "donor", "donor")
    shown = views(four_donors, recipe, pictures)
    x = four_donors.preprocessing(model, 64).normalize(next(iter(shown)))
    expected = build_design(donor, four_donors)(x)

    network = build_tuned(recipe, four_donors, shown)

    assert isinstance(network, RecipeNetwork)
    error = (network(x) - expected).norm() / expected.norm()
    assert error < 0.05
    assert not any(part.training for part in network.modules())


def test_class_tokens_that_a_stitch_makes_are_the_donors_mean_ones(
    four_donors: Donors, pictures: ImageSet
) -> None:
    segments = (
        RecipeSegment(RESIDUAL, "input", "layer2.0"),
        RecipeSegment(VIT, "blocks.3", "output"),
    )
    recipe = Recipe((3, 64, 64), 1000, segments, "donor", "donor")
    plan = plan_recipe(recipe, four_donors)
    network = build_plan(plan, four_donors)
    shown = views(four_donors, recipe, pictures)
    whole = four_donors.dissection(VIT, 64)
    imitated = whole.module(whole.cuts[0], whole.cut("blocks.2"))
    normalize = four_donors.preprocessing(VIT, 64).normalize
    wanted = torch.cat([imitated(normalize(pixels))[:, :1] for pixels in shown])

    fit_linear(network, 0, plan, four_donors, shown)

    constants = network.stitches[0].constants
    assert constants.shape == (1, 1, 64)
    assert torch.allclose(constants, wanted.mean(0, keepdim=True), atol=1e-5)


def test_a_donor_that_refuses_the_size_is_imitated_at_its_own(
    four_donors: Donors, pictures: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Donors, "_resized", lambda *_: iter(()))
    donors = Donors(four_donors.zoo)
    segments = (
        RecipeSegment(RESIDUAL, "input", "layer2.0"),
        RecipeSegment(SWIN, "layers.1.blocks.0", "output"),
    )
    recipe = Recipe((3, 32, 32), 10, segments, "donor", "donor")
    plan = plan_recipe(recipe, donors)
    network = build_plan(plan, donors)
    shown = views(donors, recipe, pictures)
    whole = donors.dissection(SWIN, 64)
    imitated = whole.module(whole.cuts[0], whole.cut("layers.1.downsample"))
    larger = replace(shown, preprocessing=shown.preprocessing.at(64))
    pairs = [
        (network.prefix(network.preprocessing.normalize(small), 0), imitated(normal(large)))
        for small, large in zip(shown, larger, strict=True)
    ]
    expected = Stitch(plan.stitches[0].stitch)
    fit_pairs(expected, [(x, y.permute(0, 3, 1, 2)) for x, y in pairs])

    fit_linear(network, 0, plan, donors, shown)

    assert (plan.runs[0].input_size, plan.runs[1].input_size) == (32, 64)
    assert str(plan.stitches[0]) == "linear nearest, stride 1"
    assert torch.equal(network.stitches[0].stitch.conv.weight, expected.conv.weight)


def test_deries_layers_and_what_follows_them_are_left_alone(
    four_donors: Donors, pictures: ImageSet
) -> None:
    segments = (
        RecipeSegment(RESIDUAL, "input", "layer1.0"),
        RecipeSegment(EFFICIENT, "blocks.2.0", "blocks.2.0"),
        RecipeSegment(RESIDUAL, "layer3.0", "layer3.0"),
        RecipeSegment(EFFICIENT, "blocks.4.0", "blocks.4.0"),
    )
    recipe = Recipe((3, 64, 64), 10, segments, "donor", "dery", (LINEAR, DERY, LINEAR))
    plan = plan_recipe(recipe, four_donors)
    network = build_plan(plan, four_donors)
    before = state(network)

    tune_recipe(network, plan, four_donors, views(four_donors, recipe, pictures))

    now = network.state_dict()
    moved = {name for name in now if not torch.equal(now[name], before[name])}
    assert moved == {"stitches.0.stitch.conv.weight", "stitches.0.stitch.conv.bias"}


def test_statistics_are_recalibrated_where_everything_could_be_fitted(
    four_donors: Donors, pictures: ImageSet
) -> None:
    segments = (
        RecipeSegment(VIT, "input", "blocks.1"),
        RecipeSegment(EFFICIENT, "blocks.3.0", "output"),
    )
    recipe = Recipe((3, 64, 64), 1000, segments, "donor", "donor", (LINEAR,))
    plan = plan_recipe(recipe, four_donors)
    network = build_plan(plan, four_donors)
    before = state(network)

    tune_recipe(network, plan, four_donors, views(four_donors, recipe, pictures))

    now = network.state_dict()
    moved = {name for name in now if not torch.equal(now[name], before[name])}
    assert any("running_mean" in name for name in moved)
    assert all("running" in name or "stitches" in name or "batches" in name for name in moved)


def test_a_recipe_that_is_a_blueprint_is_tuned_as_one(
    four_donors: Donors, pictures: ImageSet
) -> None:
    segments = (
        RecipeSegment(RESIDUAL, "input", "layer1.0"),
        RecipeSegment(EFFICIENT, "blocks.2.0", "output"),
    )
    recipe = Recipe((3, 64, 64), 1000, segments, "donor", "donor")
    shown = views(four_donors, recipe, pictures)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    by_recipe = build_tuned(recipe, four_donors, shown)
    by_blueprint = build_tuned(design_of(recipe, four_donors), four_donors, shown)

    assert isinstance(by_blueprint, Network)
    assert torch.allclose(by_recipe(x), by_blueprint(x), atol=1e-5)
