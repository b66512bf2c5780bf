"""Recipe networks: counted and built alike, trainable, exportable, and frozen where asked."""

import numpy as np
import pytest
import torch
from torch import nn

from backends.model import TensorSpec
from backends.registry import get_backend
from compiler.donors import Donors
from compiler.export import export
from compiler.macs import module_macs
from compiler.recipe import Recipe, RecipeSegment, RecipeStitch
from compiler.recipe_network import RecipeNetwork, build_plan, build_recipe
from compiler.recipe_plan import plan_recipe
from targets.target import get_target

EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"
VIT, SWIN = "test_vit.random", "swin.random"
LINEAR, DERY = RecipeStitch("linear"), RecipeStitch("dery")

# cnn2cnn, cnn2vit to a grid, vit2vit to tokens without a class token, vit2cnn from those.
ALL_FOUR = Recipe(
    (3, 64, 64),
    10,
    (
        RecipeSegment(EFFICIENT, "blocks.0.0", "blocks.1.0"),
        RecipeSegment(RESIDUAL, "layer1.0", "layer1.0"),
        RecipeSegment(SWIN, "layers.0.blocks.0", "layers.0.blocks.1"),
        RecipeSegment(VIT, "blocks.2", "blocks.3"),
        RecipeSegment(RESIDUAL, "layer4.0", "layer4.0"),
    ),
)
# Class tokens from tokens to tokens, to a map, made anew, and for the donor's own head.
TOKENS = Recipe(
    (3, 64, 64),
    1000,
    (
        RecipeSegment(VIT, "input", "blocks.0"),
        RecipeSegment(VIT, "blocks.1", "blocks.1"),
        RecipeSegment(EFFICIENT, "blocks.4.0", "blocks.4.0"),
        RecipeSegment(VIT, "blocks.4", "blocks.4"),
        RecipeSegment(VIT, "blocks.5", "output"),
    ),
    "donor",
    "donor",
    (DERY, DERY, LINEAR, DERY),
)
RECIPES = pytest.mark.parametrize("recipe", [ALL_FOUR, TOKENS], ids=["all four", "tokens"])


def pixels(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def statistics(network: RecipeNetwork) -> dict[str, torch.Tensor]:
    return {
        name: tensor.clone()
        for name, tensor in network.state_dict().items()
        if "running" in name or "num_batches" in name
    }


def changed(before: dict[str, torch.Tensor], now: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in now if not torch.equal(now[name], before[name])}


@RECIPES
def test_the_network_that_is_built_is_the_one_that_was_counted(
    recipe: Recipe, four_donors: Donors
) -> None:
    plan = plan_recipe(recipe, four_donors)

    network = build_plan(plan, four_donors)

    assert sum(parameter.numel() for parameter in network.parameters()) == plan.params
    assert module_macs(network, pixels(1)) == plan.macs
    assert network(pixels(3)).shape == (3, recipe.classes)


@RECIPES
def test_every_parameter_is_trained(recipe: Recipe, four_donors: Donors) -> None:
    network = build_recipe(recipe, four_donors).train()

    network(pixels()).square().mean().backward()

    assert all(parameter.grad is not None for parameter in network.parameters())


@RECIPES
def test_the_exported_network_computes_the_same(recipe: Recipe, four_donors: Donors) -> None:
    network = build_recipe(recipe, four_donors)
    x = pixels(1)

    model = export(network, TensorSpec("image", (1, 3, 64, 64)), "network", "logits")

    with get_backend("ort").compile(model, get_target("cpu")) as engine:
        logits = engine.run({"image": x.numpy()})["logits"]
    expected = network(x).detach().numpy()
    assert logits == pytest.approx(expected, rel=1e-3, abs=1e-4 * float(np.abs(expected).max()))


def test_frozen_segments_are_not_trained_and_their_statistics_do_not_move(
    four_donors: Donors,
) -> None:
    plan = plan_recipe(ALL_FOUR, four_donors)
    network = build_plan(plan, four_donors).freeze().train()
    before = statistics(network)

    network(pixels()).square().mean().backward()

    trained = {name for name, p in network.named_parameters() if p.grad is not None}
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == plan.trainable_frozen
    assert trained
    assert not any(name.startswith("segments.") for name in trained)
    moved = {
        name for name, now in statistics(network).items() if not torch.equal(now, before[name])
    }
    assert any(name.startswith("stitches.") for name in moved)
    assert not any(name.startswith("segments.") for name in moved)


def test_freezing_leaves_the_mode_and_survives_a_change_of_it(four_donors: Donors) -> None:
    network = build_recipe(ALL_FOUR, four_donors)

    assert not network.freeze().training
    network.train()
    assert network.stitches[0].training and not network.segments[0].training
    network.eval()
    assert not any(part.training for part in network.modules())


def test_without_freezing_the_donors_statistics_move(four_donors: Donors) -> None:
    network = build_recipe(ALL_FOUR, four_donors).train()
    before = statistics(network)

    network(pixels())

    moved = {
        name for name, now in statistics(network).items() if not torch.equal(now, before[name])
    }
    assert any(name.startswith("segments.") for name in moved)


def test_a_seed_decides_the_new_layers_and_the_global_random_state_stays(
    four_donors: Donors,
) -> None:
    state = torch.get_rng_state()

    first, second = build_recipe(ALL_FOUR, four_donors), build_recipe(ALL_FOUR, four_donors)
    other = build_recipe(ALL_FOUR, four_donors, seed=1)

    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first(pixels()), second(pixels()))
    assert not torch.equal(first(pixels()), other(pixels()))


def test_the_donors_stay_as_they_are(four_donors: Donors) -> None:
    donor = four_donors.module(RESIDUAL)
    before = {name: tensor.clone() for name, tensor in donor.state_dict().items()}
    network = build_recipe(ALL_FOUR, four_donors).train()

    network(pixels()).sum().backward()
    torch.optim.SGD(network.parameters(), 0.1).step()

    assert all(torch.equal(donor.state_dict()[name], before[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in donor.parameters())


def test_two_runs_of_one_donor_have_parameters_of_their_own(four_donors: Donors) -> None:
    twice = RecipeSegment(RESIDUAL, "layer1.0", "layer1.0")
    network = build_recipe(Recipe((3, 64, 64), 10, (twice, twice)), four_donors)

    first, second = (set(map(id, segment.parameters())) for segment in network.segments)

    assert first and not first & second


def test_prefixes_are_what_arrives_at_the_stitches(four_donors: Donors) -> None:
    network = build_recipe(ALL_FOUR, four_donors)
    x = network.prefix(pixels(), 1)

    for stitch, segment in zip(network.stitches[1:], network.segments[2:], strict=True):
        x = segment(stitch(x))

    assert torch.equal(network.head(x), network(pixels()))


def test_shapes_alone_make_a_network_without_weights(four_donors: Donors) -> None:
    shapes = Donors(four_donors.zoo, shapes_only=True)
    real, bare = plan_recipe(ALL_FOUR, four_donors), plan_recipe(ALL_FOUR, shapes)

    network = build_plan(bare, shapes)

    assert bare.parts == real.parts
    assert all(parameter.is_meta for parameter in network.parameters())
    assert network(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 10)


def test_transformer_blocks_run_alike_with_and_without_the_donors_graph(
    four_donors: Donors,
) -> None:
    first = RecipeSegment(RESIDUAL, "layer1.0", "layer2.0")
    recipe = Recipe((3, 64, 64), 10, (first, RecipeSegment(VIT, "blocks.2", "blocks.4")))
    network = build_recipe(recipe, four_donors)
    tokens = torch.randn(2, 17, 64, generator=torch.Generator().manual_seed(0))
    whole = four_donors.dissection(VIT, 64)
    graph = whole.module(whole.cut("blocks.1"), whole.cut("blocks.4"))

    assert isinstance(network.segments[1], nn.Module)
    assert torch.allclose(network.segments[1](tokens), graph(tokens), atol=1e-5)
