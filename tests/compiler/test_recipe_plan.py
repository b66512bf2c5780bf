"""Recipe plans: what a recipe leaves open follows from shapes, and what cannot be is refused."""

import copy

import pytest
import torch
from torch import nn

from compiler.design import design_of, recipe_of, stitch_shapes
from compiler.donors import Donors
from compiler.network import Blueprint, Segment
from compiler.recipe import End, Recipe, RecipeSegment, RecipeStitch
from compiler.recipe_plan import RecipePlan, plan_recipe
from compiler.segment_runs import GraphRun, TokenRun
from targets.errors import UnknownNameError, UsageError, ZooError

EFFICIENT, RESIDUAL = "test_efficientnet.random", "test_resnet.random"
VIT, SWIN = "test_vit.random", "swin.random"
STEPS = RecipeSegment(RESIDUAL, "layer1.0", "layer2.0")
BLOCKS = RecipeSegment(VIT, "blocks.1", "blocks.2")
WINDOWS = RecipeSegment(SWIN, "layers.0.blocks.1", "layers.1.blocks.0")


def recipe(
    *segments: RecipeSegment,
    stem: End = "dery",
    head: End = "dery",
    stitches: tuple[RecipeStitch, ...] | None = None,
    size: int = 64,
    classes: int = 10,
) -> Recipe:
    return Recipe((3, size, size), classes, segments, stem, head, stitches)


def tensors(plan: RecipePlan) -> list[str]:
    return [f"{p.name} {'x'.join(map(str, p.tensor.shape[1:]))}" for p in plan.parts]


def test_a_segment_takes_the_grid_that_arrives(four_donors: Donors) -> None:
    plan = plan_recipe(recipe(RecipeSegment(EFFICIENT, "blocks.1.0", "blocks.2.0")), four_donors)

    # The stem hands on 16x16; at 64 px the donor would see 32x32 here.
    assert plan.runs[0].input_size == 32
    assert tensors(plan) == [
        "input 3x64x64",
        "stem 16x16x16",
        "segment 1 32x4x4",
        "head 10",
    ]
    assert plan.parts[2].what == "test_efficientnet.random[blocks.1.0..blocks.2.0] at 32 px"


def test_a_stride_that_is_left_out_brings_the_donors_own_grid(four_donors: Donors) -> None:
    late = RecipeSegment(EFFICIENT, "blocks.4.0", "blocks.4.0")

    plan = plan_recipe(recipe(STEPS, late), four_donors)

    # 8x8 arrives, and the donor sees 4x4 here at 64 px.
    assert str(plan.stitches[0]) == "dery cnn2cnn, stride 2"
    assert plan.runs[1].input_size == 64


def test_a_stride_that_is_given_is_kept(four_donors: Donors) -> None:
    late = RecipeSegment(EFFICIENT, "blocks.4.0", "blocks.4.0")

    plan = plan_recipe(recipe(STEPS, late, stitches=(RecipeStitch("dery", 1),)), four_donors)

    assert str(plan.stitches[0]) == "dery cnn2cnn, stride 1"
    assert plan.runs[1].input_size == 128
    assert tensors(plan)[-2:] == ["segment 2 64x4x4", "head 10"]


def test_a_stride_larger_than_the_grid_is_refused(four_donors: Donors) -> None:
    with pytest.raises(UsageError, match=r"cannot have stride 9\. Use 1 to 8\."):
        plan_recipe(recipe(STEPS, STEPS, stitches=(RecipeStitch("dery", 9),)), four_donors)


def test_windows_keep_their_size_on_other_grids(four_donors: Donors) -> None:
    plan = plan_recipe(recipe(STEPS, WINDOWS), four_donors)
    whole = four_donors.dissection(SWIN, 64)
    own = whole.block(whole.cut("layers.0.blocks.0"), whole.cut("layers.1.blocks.0"))

    assert str(plan.stitches[0]) == "dery cnn2vit, stride 1"
    assert plan.runs[1].input_size == 32
    assert plan.runs[1].params == own.params
    assert tensors(plan)[-2] == "segment 2 4x4x48"


def test_blocks_that_a_map_feeds_run_without_class_token(four_donors: Donors) -> None:
    plan = plan_recipe(recipe(STEPS, BLOCKS, STEPS), four_donors)

    assert [type(run) for run in plan.runs] == [GraphRun, TokenRun, GraphRun]
    assert [str(shape) for shape in plan.stitches] == [
        "dery cnn2vit, stride 2",
        "dery vit2cnn, stride 1",
    ]
    assert tensors(plan)[4:6] == ["segment 2 16x64", "stitch 2 32x4x4"]
    assert plan.runs[1].input_size == 64
    assert plan.runs[1].cut_names == ("blocks.0", "blocks.2")


def test_blocks_behind_blocks_keep_their_class_token(four_donors: Donors) -> None:
    first = RecipeSegment(VIT, "blocks.0", "blocks.1")

    plan = plan_recipe(
        recipe(first, BLOCKS, stem="donor", stitches=(RecipeStitch("dery"),)), four_donors
    )

    assert tensors(plan)[1:4] == ["segment 1 17x64", "stitch 1 17x64", "segment 2 17x64"]
    assert str(plan.stitches[0]) == "dery vit2vit"


def test_a_donors_head_is_given_its_class_token(four_donors: Donors) -> None:
    last = RecipeSegment(VIT, "blocks.4", "output")

    plan = plan_recipe(recipe(STEPS, last, head="donor", classes=1000), four_donors)

    assert tensors(plan)[-2:] == ["stitch 1 17x64", "segment 2 1000"]


def test_a_linear_stitch_hands_on_the_donors_own_grid(four_donors: Donors) -> None:
    late = RecipeSegment(EFFICIENT, "blocks.4.0", "blocks.4.0")

    plan = plan_recipe(recipe(STEPS, late, stitches=(RecipeStitch("linear"),)), four_donors)

    assert str(plan.stitches[0]) == "linear strided, stride 2"
    assert plan.stitches[0].describe() == "strided 48x8x8>48x4x4"
    assert tensors(plan)[3:5] == ["stitch 1 48x4x4", "segment 2 64x2x2"]


def test_the_stride_of_a_linear_stitch_follows_from_the_grids(four_donors: Donors) -> None:
    late = RecipeSegment(EFFICIENT, "blocks.4.0", "blocks.4.0")

    with pytest.raises(UsageError) as refused:
        plan_recipe(recipe(STEPS, late, stitches=(RecipeStitch("linear", 3),)), four_donors)

    assert str(refused.value) == (
        "Stitch 1 is linear, and has stride 2 by the grids that it joins; stride 3 was asked for. "
        "Leave it out."
    )


def test_a_grid_that_no_size_gives_is_resampled_and_said(
    four_donors: Donors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Donors, "_resized", lambda *_: iter(()))
    one_size = Donors(four_donors.zoo, shapes_only=True)

    plan = plan_recipe(recipe(STEPS, WINDOWS), one_size)
    first = plan_recipe(recipe(WINDOWS, size=32), one_size)

    assert str(plan.stitches[0]) == "dery cnn2vit, stride 1, resampled to 16x16"
    assert tensors(plan)[3:5] == ["stitch 1 16x16x24", "segment 2 8x8x48"]
    assert str(first.stem) == "dery, resampled to 16x16"


def test_a_first_donor_that_refuses_the_picture_is_said(
    four_donors: Donors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Donors, "_resized", lambda *_: iter(()))
    one_size = Donors(four_donors.zoo, shapes_only=True)
    own = RecipeSegment(SWIN, "input", "layers.0.blocks.1")

    with pytest.raises(UsageError) as refused:
        plan_recipe(recipe(own, stem="donor", size=32), one_size)

    assert str(refused.value) == (
        "swin.random takes pictures of 64 px and refuses 32, the recipe's input. With its own "
        'stem, use "input": [3, 64, 64].'
    )


def test_parts_come_to_the_whole(four_donors: Donors) -> None:
    plan = plan_recipe(recipe(STEPS, BLOCKS, WINDOWS), four_donors)

    donors = sum(run.params for run in plan.runs)
    assert plan.params == plan.trainable_frozen + donors
    assert plan.macs == sum(part.macs for part in plan.parts)
    assert plan.untrained == ("the stem", "stitch 1", "stitch 2", "the head")
    assert plan.fitted == 0
    assert plan.blueprint is None


def test_linear_stitches_are_fitted_up_to_the_first_untrained_layer(four_donors: Donors) -> None:
    begin = RecipeSegment(RESIDUAL, "input", "layer1.0")
    next_ = RecipeSegment(EFFICIENT, "blocks.2.0", "blocks.2.0")
    kinds = (RecipeStitch("linear"), RecipeStitch("dery"), RecipeStitch("linear"))

    plan = plan_recipe(
        recipe(begin, next_, next_, next_, stem="donor", stitches=kinds), four_donors
    )

    assert plan.fitted == 1
    assert plan.untrained == ("stitch 2", "stitch 3", "the head")


BLUEPRINTS = [
    Blueprint.pure(EFFICIENT, 64),
    Blueprint(
        64,
        (
            Segment(EFFICIENT, "input", "blocks.1.0"),
            Segment(RESIDUAL, "layer1.0", "layer2.0"),
            Segment(EFFICIENT, "blocks.3.0", "output"),
        ),
    ),
    # Nothing of the second donor but its head.
    Blueprint(
        64, (Segment(RESIDUAL, "input", "layer3.0"), Segment(EFFICIENT, "blocks.4.0", "output"))
    ),
]


@pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=str)
def test_what_a_search_found_is_written_down_and_read_back(
    blueprint: Blueprint, four_donors: Donors
) -> None:
    written = recipe_of(blueprint, four_donors)

    read = Recipe.from_json(written.to_json())

    assert design_of(read, four_donors) == blueprint
    plan = plan_recipe(read, four_donors)
    assert plan.untrained == ()
    assert [shape.describe() for shape in plan.stitches] == [
        f"{shape.kind} {shape}" for shape in stitch_shapes(blueprint, four_donors)
    ]


def test_a_recipe_that_says_more_than_a_blueprint_stays_one(four_donors: Donors) -> None:
    tokens = recipe(
        RecipeSegment(VIT, "blocks.0", "blocks.1"),
        RecipeSegment(VIT, "blocks.2", "blocks.5"),
        stem="donor",
        head="donor",
        classes=1000,
    )

    assert design_of(tokens, four_donors) == tokens


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        (RecipeSegment(RESIDUAL, "layer1.1", "layer2.0"), "layer1.0"),
        (RecipeSegment(RESIDUAL, "layer1.0", "layer2.1"), "layer2.0"),
    ],
)
def test_an_unknown_node_is_met_with_the_nearest(
    segment: RecipeSegment, said: str, four_donors: Donors
) -> None:
    with pytest.raises(UnknownNameError) as unknown:
        plan_recipe(recipe(STEPS, segment), four_donors)

    assert f"Unknown node of {RESIDUAL} " in str(unknown.value)
    assert f"Did you mean '{said}'" in str(unknown.value)


def test_an_unknown_model_is_named(four_donors: Donors) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown donor 'test_resnot'\. Did you mean"):
        plan_recipe(recipe(RecipeSegment("test_resnot", "a", "b")), four_donors)


def test_a_segment_that_leads_backwards_is_refused(four_donors: Donors) -> None:
    with pytest.raises(UsageError) as refused:
        plan_recipe(recipe(RecipeSegment(RESIDUAL, "layer3.0", "layer1.0")), four_donors)

    assert str(refused.value) == (
        "The segment test_resnet.random[layer3.0..layer1.0] leads backwards: 'layer1.0' comes "
        "before 'layer3.0' in test_resnet.random. Exchange them."
    )


def test_a_donors_stem_belongs_to_its_first_node(four_donors: Donors) -> None:
    with pytest.raises(UsageError) as refused:
        plan_recipe(
            recipe(RecipeSegment(RESIDUAL, "layer2.0", "layer3.0"), stem="donor"), four_donors
        )

    assert str(refused.value) == (
        'With "stem": "donor" the first segment begins at the input of test_resnet.random: its '
        "first node is 'layer1.0', not 'layer2.0'. Begin there, or use \"stem\": \"dery\"."
    )


def test_a_donors_head_belongs_to_its_last_node(four_donors: Donors) -> None:
    with pytest.raises(UsageError) as refused:
        plan_recipe(recipe(STEPS, head="donor"), four_donors)

    assert str(refused.value) == (
        'With "head": "donor" the last segment runs to the output of test_resnet.random: its last '
        "node is 'layer4.0', not 'layer2.0'. End there, or use \"head\": \"dery\"."
    )


def test_a_donors_head_has_its_own_classes(four_donors: Donors) -> None:
    last = RecipeSegment(RESIDUAL, "layer4.0", "layer4.0")

    with pytest.raises(UsageError) as refused:
        plan_recipe(recipe(last, head="donor"), four_donors)

    assert str(refused.value) == (
        "The recipe has 10 classes and the head of test_resnet.random, its donor, 1000. Use 1000 "
        'classes, or "head": "dery".'
    )


def test_a_head_without_nodes_can_only_be_a_donors(four_donors: Donors) -> None:
    with pytest.raises(UsageError, match="leads backwards"):
        plan_recipe(recipe(RecipeSegment(RESIDUAL, "output", "layer4.0")), four_donors)


class Positioned(nn.Module):
    """A block that must be told where its tokens are."""

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return x + positions


@pytest.mark.parametrize("block", [Positioned(), nn.Identity()], ids=["refuses", "differs"])
def test_blocks_that_need_more_than_tokens_are_refused(
    block: nn.Module, four_donors: Donors
) -> None:
    own = plan_recipe(recipe(STEPS, BLOCKS), four_donors).runs[1]
    assert isinstance(own, TokenRun)
    donor = copy.deepcopy(four_donors.module(VIT))
    donor.set_submodule("blocks.1", block)

    with pytest.raises(ZooError) as refused:
        TokenRun(own.segment, own.whole, donor, own.source)

    assert str(refused.value) == (
        "The segment test_vit.random[blocks.1..blocks.2] cannot run on the tokens of a grid alone: "
        "its blocks need more than the tokens before them. Use a linear stitch before it, which "
        "gives it class tokens, or another donor."
    )
