"""Design: what a network is made of, found by a search (a blueprint) or written down (a recipe)."""

from itertools import pairwise
from typing import TypeGuard

from compiler.dissection import OUTPUT, Dissection
from compiler.donors import Donors
from compiler.network import Blueprint, Network, Segment, build
from compiler.recipe import Recipe, RecipeSegment, RecipeStitch
from compiler.recipe_network import RecipeNetwork, build_plan, build_recipe
from compiler.recipe_plan import plan_recipe
from compiler.recipe_tuning import tune_recipe
from compiler.stitching import StitchShape
from compiler.tuning import tune
from compiler.views import Views

Design = Blueprint | Recipe
DesignedNetwork = Network | RecipeNetwork


def has_int8(design: Design) -> TypeGuard[Blueprint]:
    """Whether parts of a network run in int8; a recipe's never do."""
    return isinstance(design, Blueprint) and design.quantized


def design_of(recipe: Recipe, donors: Donors) -> Design:
    """The blueprint that a recipe says no more than, if there is one; else the recipe.

    A build's answer, read back as a recipe, is the same network as before, and as well kept.

    Raises:
        UnknownNameError, UsageError, ZooError: as `plan_recipe`.
    """
    return plan_recipe(recipe, donors).blueprint or recipe


def recipe_of(blueprint: Blueprint, donors: Donors) -> Recipe:
    """A blueprint written down in nodes; `design_of` gives the blueprint back.

    A segment that is nothing but its donor's head runs from "output" to "output".
    """
    size = blueprint.input_size
    found = [donors.dissection(segment.model, size) for segment in blueprint.segments]
    segments = tuple(map(_in_nodes, blueprint.segments, found))
    stitches = tuple(
        RecipeStitch("linear", shape.stride) for shape in stitch_shapes(blueprint, donors)
    )
    classes = found[-1].cuts[-1].tensor.shape[-1]
    return Recipe((3, size, size), classes, segments, "donor", "donor", stitches)


def stitch_shapes(blueprint: Blueprint, donors: Donors) -> tuple[StitchShape, ...]:
    """The shapes of a blueprint's stitches, in order."""
    size = blueprint.input_size
    return tuple(
        StitchShape.between(
            donors.dissection(left.model, size).cut(left.end),
            donors.dissection(right.model, size).cut(right.start),
        )
        for left, right in pairwise(blueprint.segments)
    )


def _in_nodes(segment: Segment, dissection: Dissection) -> RecipeSegment:
    start, end = dissection.cut(segment.start), dissection.cut(segment.end)
    ends = [c for c in dissection.boundaries[1:] if start.position < c.position <= end.position]
    names = [cut.name for cut in ends] or [OUTPUT]
    return RecipeSegment(segment.model, names[0], names[-1])


def build_design(design: Design, donors: Donors) -> DesignedNetwork:
    """The torch network of a design, in eval mode, as it is before anything is fitted.

    Raises:
        UnknownNameError, UsageError, ZooError: as `build` and `build_recipe`.
    """
    if isinstance(design, Blueprint):
        return build(design, donors)
    return build_recipe(design, donors).requires_grad_(False)


def build_tuned(design: Design, donors: Donors, views: Views) -> DesignedNetwork:
    """The torch network of a design, with everything fitted that needs no training.

    Args:
        design: what it is made of.
        donors: where its segments come from.
        views: calibration views at the network's input size.
    """
    if isinstance(design, Blueprint):
        return tune(build(design, donors), donors, views)
    plan = plan_recipe(design, donors)
    network = build_plan(plan, donors).requires_grad_(False)
    return tune_recipe(network, plan, donors, views)
