"""Recipe parts: what a profile knows is used, everything else is a part of its own."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from backends.model import ExportedModel
from compiler.cache import Cache
from compiler.chains import random_networks
from compiler.compatibility import PairRule
from compiler.design import build_design
from compiler.donors import Donors
from compiler.network import Blueprint
from compiler.parts import block_part
from compiler.recipe import Recipe, RecipeSegment, RecipeStitch
from compiler.recipe_parts import RecipeParts, Stretch, chain_of
from compiler.workbench import Workbench

RESIDUAL, EFFICIENT, VIT = "test_resnet.random", "test_efficientnet.random", "test_vit.random"
PICTURE = (3, 64, 64)
DERY = Recipe(
    PICTURE,
    10,
    (
        RecipeSegment(RESIDUAL, "layer2.0", "layer3.0"),
        RecipeSegment(EFFICIENT, "blocks.4.0", "blocks.4.0"),
    ),
)
TOKENS = Recipe(
    PICTURE,
    1000,
    (RecipeSegment(RESIDUAL, "layer1.0", "layer2.0"), RecipeSegment(VIT, "blocks.1", "output")),
    "donor",
    "donor",
)


def parts_of(bench: Workbench, cache: Path, donors: Donors | None = None) -> RecipeParts:
    profiled = [(name, 64) for name in bench.donors.names]
    return RecipeParts(donors or bench.donors, bench.profile.parts, profiled, Cache(cache))


def count(stretches: tuple[Stretch, ...]) -> Mapping[str, int]:
    return {stretch.name: len(stretch.links) for stretch in stretches}


def test_a_blueprint_is_the_chain_that_its_zoo_knows(bench: Workbench, tmp_path: Path) -> None:
    dissections = [bench.donors.dissection(name, 64) for name in bench.donors.names]
    parts = parts_of(bench, tmp_path)

    for network in random_networks(dissections, PairRule(), 4, seed=3):
        assert chain_of(parts.stretches(network)) == bench.profile.parts.chain(network)


def test_a_whole_donor_is_the_row_of_its_blocks(bench: Workbench, tmp_path: Path) -> None:
    (segment,) = parts_of(bench, tmp_path).stretches(Blueprint.pure(RESIDUAL, 64))

    assert segment.name == "segment 1"
    assert [link.name for link in segment.links] == [
        block.name for block in bench.donors.dissection(RESIDUAL, 64).blocks
    ]
    assert not list(tmp_path.rglob("*.json"))


def test_what_no_profile_knows_is_a_part_of_its_own(bench: Workbench, tmp_path: Path) -> None:
    stretches = parts_of(bench, tmp_path).stretches(DERY)

    kinds = {s.name: s.links[0].part.kind for s in stretches}
    assert count(stretches) == {"stem": 1, "segment 1": 2, "stitch 1": 1, "segment 2": 1, "head": 1}
    assert kinds == dict.fromkeys(kinds, "block") | {"stitch 1": "stitch"}
    assert [link.part for s in stretches for link in s.links if "@64/" in link.name] == [
        *bench.profile.parts.donor(RESIDUAL, 64).chain[1:3],
        bench.profile.parts.donor(EFFICIENT, 64).chain[4],
    ]


@pytest.mark.parametrize("recipe", [DERY, TOKENS])
def test_the_parts_one_after_another_are_the_network(
    recipe: Recipe, bench: Workbench, four_donors: Donors, tmp_path: Path
) -> None:
    parts = parts_of(bench, tmp_path, four_donors)

    links = [link for stretch in parts.stretches(recipe) for link in stretch.links]

    models = [link.make() for link in links]
    flow: tuple[int, ...] = (1, *PICTURE)
    for model in models:
        assert model.inputs[0].shape == flow
        flow = model.outputs[0].shape
    network = build_design(recipe, four_donors)
    assert flow == tuple(network(torch.zeros(1, *PICTURE)).shape)


def test_every_part_says_what_its_model_is_and_random_numbers_stay(
    bench: Workbench, tmp_path: Path
) -> None:
    random = torch.random.get_rng_state()

    for stretch in parts_of(bench, tmp_path).stretches(DERY):
        for link in stretch.links:
            model: ExportedModel = link.make()
            described = block_part(model, link.part.macs)

            assert link.structure == model.structure
            assert (link.part.nodes, link.part.weight_bytes) == (
                described.nodes,
                described.weight_bytes,
            )
            assert link.part.edge_bytes == described.edge_bytes
    assert torch.equal(torch.random.get_rng_state(), random)


def test_a_segment_on_a_grid_that_is_not_profiled_is_one_part(
    bench: Workbench, tmp_path: Path
) -> None:
    stitch = (RecipeStitch("dery", 1),)
    segments = (
        RecipeSegment(RESIDUAL, "layer2.0", "layer2.0"),
        RecipeSegment(EFFICIENT, "blocks.2.0", "blocks.3.0"),
    )
    other_grid = Recipe(PICTURE, 10, segments, stitches=stitch)

    stretches = parts_of(bench, tmp_path).stretches(other_grid)

    assert " at 64 px" not in stretches[3].what
    assert count(stretches)["segment 2"] == 1


def test_tokens_that_a_stitch_makes_are_a_part_of_their_own(
    bench: Workbench, four_donors: Donors, tmp_path: Path
) -> None:
    stretches = parts_of(bench, tmp_path, four_donors).stretches(TOKENS)

    assert count(stretches) == {"segment 1": 2, "stitch 1": 1, "segment 2": 1}
    assert stretches[1].links[0].part.kind == "stitch"
    assert stretches[1].links[0].name == "stitch 1"


def test_what_was_exported_once_is_remembered(bench: Workbench, tmp_path: Path) -> None:
    first = parts_of(bench, tmp_path).stretches(DERY)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}

    again = parts_of(bench, tmp_path).stretches(DERY)

    assert chain_of(again) == chain_of(first)
    assert len(kept) == 3  # stem, stitch, head
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == kept
